"""Models from any OCI registry."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from typing import TypeVar

from dmrc import hookimpl
from dmrc.artifact import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    MAX_DOCUMENT_BYTES,
    Descriptor,
    Manifest,
    ModelConfig,
    select_manifest,
)
from dmrc.errors import ArtifactError, DigestMismatchError
from dmrc.reference import DEFAULT_REGISTRY, Reference, is_digest
from dmrc.settings import Settings
from dmrc.sources.credentials import DockerCredentials
from dmrc.sources.registry import Registry, TransientError, retry
from dmrc.sources.source import BlobWriter, ProgressEvent, Source, Transfer

_ACCEPT = ", ".join((MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX))
_LAYERS_AT_ONCE = 4
_READ_BYTES = 1 << 20
_REPORT_SECONDS = 0.1
_POLL_SECONDS = 0.1
_T = TypeVar("_T")


class OciSource:
    """Pulls from OCI registries: Docker Hub, GHCR, one on loopback."""

    name = "oci"

    def __init__(
        self, credentials: DockerCredentials, *, default_registry: str = DEFAULT_REGISTRY, insecure: bool = False
    ) -> None:
        """Use the logins that Docker knows; `insecure` allows plain http beyond loopback."""
        self._credentials = credentials
        self._default_registry = default_registry
        self._insecure = insecure

    def recognize(self, text: str) -> Reference | None:
        """Return the reference, unless it is on Hugging Face, which is no OCI registry.

        Raises:
            InvalidReferenceError: `text` is no reference.
        """
        reference = Reference.parse(text, default_registry=self._default_registry)
        return None if reference.registry == "huggingface.co" else reference

    def fetch(self, text: str, transfer: Transfer) -> bytes:
        """Pull a model; see `Source.fetch`."""
        reference = Reference.parse(text, default_registry=self._default_registry)
        name = reference.display(default_registry=self._default_registry)
        credentials = self._credentials.lookup(reference.registry)
        with Registry(reference, credentials, insecure=self._insecure) as registry:
            [data] = _together(registry, transfer, [lambda inner: _fetch_model(registry, reference, name, inner)])
            layers = {layer.digest: layer for layer in Manifest.parse(data, name=name).layers}.values()
            _together(registry, transfer, [partial(_fetch_layer, registry, layer) for layer in layers])
        return data


def _together(registry: Registry, transfer: Transfer, actions: Sequence[Callable[[Transfer], _T]]) -> list[_T]:
    """Run the actions, a few at a time; the first failure, a cancellation or Ctrl+C stops all of them soon."""
    stop = threading.Event()
    inner = replace(transfer, cancelled=lambda: stop.is_set() or transfer.cancelled())
    with ThreadPoolExecutor(_LAYERS_AT_ONCE, thread_name_prefix="dmrc-pull") as pool:
        futures = [pool.submit(action, inner) for action in actions]
        try:
            pending = set(futures)
            while pending:
                done, pending = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_EXCEPTION)
                transfer.check()
                for future in done:
                    future.result()
        except BaseException:
            stop.set()
            registry.abort()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _fetch_model(registry: Registry, reference: Reference, name: str, transfer: Transfer) -> bytes:
    """Fetch the manifest and the config, and refuse what is no model before a large byte has come."""
    data = _fetch_manifest(registry, reference, name, transfer)
    manifest = Manifest.parse(data, name=name)
    if not manifest.gguf_layers:
        raise ArtifactError(f"model '{name}' has no GGUF file; models in other formats are not served")
    config = _fetch_document(registry, f"blobs/{manifest.config.digest}", manifest.config, transfer)
    ModelConfig.parse(config, name=name)
    if not transfer.sink.has_blob(manifest.config.digest, len(config)):
        with transfer.sink.write_blob(manifest.config.digest, len(config)) as writer:
            writer.write(config)
    return data


def _fetch_manifest(registry: Registry, reference: Reference, name: str, transfer: Transfer) -> bytes:
    wanted = reference.digest or reference.tag
    data, media_type = retry(lambda: _read_document(registry, f"manifests/{wanted}", reference.digest), transfer)
    if media_type not in (INDEX, DOCKER_INDEX):
        return data
    chosen = select_manifest(data, name=name)
    return _fetch_document(registry, f"manifests/{chosen.digest}", chosen, transfer)


def _fetch_document(registry: Registry, path: str, descriptor: Descriptor, transfer: Transfer) -> bytes:
    data, _ = retry(lambda: _read_document(registry, path, descriptor.digest), transfer)
    if len(data) != descriptor.size_bytes:
        raise DigestMismatchError(f"{descriptor.digest} should have {descriptor.size_bytes} bytes, not {len(data)}")
    return data


def _read_document(registry: Registry, path: str, digest: str | None) -> tuple[bytes, str]:
    """Return a manifest or config, and its media type."""
    with registry.get(path, {"Accept": _ACCEPT} if path.startswith("manifests/") else {}) as response:
        data: bytes = response.read(MAX_DOCUMENT_BYTES + 1)
        said = response.headers.get("Docker-Content-Digest", "")
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    if len(data) > MAX_DOCUMENT_BYTES:
        raise ArtifactError(f"'{path}' is larger than {MAX_DOCUMENT_BYTES} bytes, which is no model's")
    expected = digest or (said if is_digest(said) else None)
    actual = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if expected is not None and actual != expected:
        raise DigestMismatchError(f"'{path}' came with other bytes: {expected} was promised, {actual} came")
    return data, media_type


def _fetch_layer(registry: Registry, layer: Descriptor, transfer: Transfer) -> None:
    event = ProgressEvent("Already exists", layer.digest, layer.size_bytes, layer.size_bytes)
    if not transfer.sink.has_blob(layer.digest, layer.size_bytes):
        transfer.report(replace(event, status="Downloading", current_bytes=0))
        best = 0

        def progressed() -> bool:
            nonlocal best
            before, best = best, max(best, writer.written)
            return best - before >= _READ_BYTES

        with transfer.sink.write_blob(layer.digest, layer.size_bytes) as writer:
            retry(lambda: _read_layer(registry, layer, writer, transfer), transfer, progressed=progressed)
        event = replace(event, status="Pull complete")
    transfer.report(event)


def _read_layer(registry: Registry, layer: Descriptor, writer: BlobWriter, transfer: Transfer) -> None:
    """Read the layer from where the last attempt ended."""
    headers = {"Range": f"bytes={writer.written}-"} if writer.written else {}
    reported = time.monotonic()
    with registry.get(f"blobs/{layer.digest}", headers) as response:
        begins_there = response.headers.get("Content-Range", "").startswith(f"bytes {writer.written}-")
        if writer.written and not (response.status == 206 and begins_there):
            writer.restart()
        if response.status == 416:
            raise TransientError(f"the registry has no byte {writer.written} of {layer.digest}")
        while chunk := response.read(_READ_BYTES):
            writer.write(chunk)
            transfer.check()
            if time.monotonic() - reported >= _REPORT_SECONDS:
                reported = time.monotonic()
                transfer.report(ProgressEvent("Downloading", layer.digest, writer.written, layer.size_bytes))
    if writer.written < layer.size_bytes:
        raise TransientError(f"the registry sent {writer.written} of the {layer.size_bytes} bytes of {layer.digest}")


@hookimpl
def dmrc_register_sources(settings: Settings) -> Sequence[Source]:
    """Register it, with the logins that Docker knows."""
    credentials = DockerCredentials.from_environment(os.environ)
    registry, insecure = settings.default_registry, settings.insecure_registry
    return [OciSource(credentials, default_registry=registry, insecure=insecure)]
