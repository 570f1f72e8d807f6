"""Models from any OCI registry, and to it."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from dmrc import hookimpl
from dmrc.artifact import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    MAX_DOCUMENT_BYTES,
    Descriptor,
    ImagedModel,
    Manifest,
    ModelConfig,
    config_of_image,
    select_manifest,
)
from dmrc.errors import ArtifactError, DigestMismatchError, FormatError, ModelNotFoundError, RegistryError
from dmrc.gguf import GgufFacts
from dmrc.reference import DEFAULT_REGISTRY, Reference, is_digest
from dmrc.settings import Settings
from dmrc.sources.credentials import DockerCredentials
from dmrc.sources.destination import Outgoing
from dmrc.sources.docker_hub import hub_variants, search_hub
from dmrc.sources.download import download
from dmrc.sources.image_model import RangeOrigin
from dmrc.sources.inspectable import RemoteModel
from dmrc.sources.mirrors import daemon_files, docker_mirrors
from dmrc.sources.oci_push import push, scopes
from dmrc.sources.registry import Endpoint, Registry
from dmrc.sources.retry import retry
from dmrc.sources.search import ModelFinder
from dmrc.sources.source import ProgressEvent, Source, Transfer
from dmrc.sources.threads import together
from dmrc.sources.variants import ModelVariant, header_of

_log = logging.getLogger(__name__)

_ACCEPT = ", ".join((MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX))
_LAYERS_AT_ONCE = 4
_Found = TypeVar("_Found")


class OciSource:
    """Pulls from and pushes to OCI registries: Docker Hub, GHCR, one on loopback."""

    name = "oci"
    catalog = "hub"
    catalog_title = "Docker Hub"

    def __init__(
        self,
        credentials: DockerCredentials,
        *,
        default_registry: str = DEFAULT_REGISTRY,
        insecure: bool = False,
        mirrors: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        """Use the logins that Docker knows; `insecure` allows plain http beyond loopback.

        Args:
            credentials: Where logins are looked up.
            default_registry: Registry of references that name none.
            insecure: Whether registries are used by plain http.
            mirrors: URLs to ask before a registry, by its name: `{"docker.io": ["http://127.0.0.1:5000"]}`.
        """
        self._credentials = credentials
        self._default_registry = default_registry
        self._insecure = insecure
        self._mirrors = mirrors

    def recognize(self, text: str) -> Reference | None:
        """Return the reference, unless it is on Hugging Face, which is no OCI registry.

        Raises:
            InvalidReferenceError: `text` is no reference.
        """
        reference = Reference.parse(text, default_registry=self._default_registry)
        return None if reference.registry == "huggingface.co" else reference

    def fetch(self, text: str, transfer: Transfer) -> bytes:
        """Pull a model; see `Source.fetch`."""
        return self._from_first(text, lambda endpoint, reference: self._fetch_from(endpoint, reference, transfer))

    def look(self, text: str, transfer: Transfer) -> tuple[bytes, bytes]:
        """Return the manifest and the config of a model; see `Inspectable.look`."""
        return self.read(text, transfer, lambda found: (found.manifest, found.config))

    def read(self, text: str, transfer: Transfer, use: Callable[[RemoteModel], _Found]) -> _Found:
        """Return what `use` makes of a model while its registry is asked; see `Readable.read`."""

        def reading(endpoint: Endpoint, reference: Reference) -> _Found:
            with Registry(endpoint, reference, self._credentials.lookup(endpoint.host)) as registry:
                return use(_fetch_model(registry, reference, self._display(reference), transfer))

        return self._from_first(text, reading)

    def _from_first(self, text: str, ask: Callable[[Endpoint, Reference], _Found]) -> _Found:
        """Ask each mirror until one does not fail, and last the registry."""
        reference = Reference.parse(text, default_registry=self._default_registry)
        for url in self._mirrors.get(reference.registry, ()):
            try:
                return ask(Endpoint.of_mirror(url), reference)
            except (RegistryError, ModelNotFoundError, ArtifactError) as error:
                _log.warning("mirror '%s' of '%s' does not serve '%s': %s", url, reference.registry, text, error)
        return ask(Endpoint.of_registry(reference.registry, insecure=self._insecure), reference)

    def _display(self, reference: Reference) -> str:
        return reference.display(default_registry=self._default_registry)

    def finder(self) -> ModelFinder:
        """Return the search of Docker Hub: other registries have none."""
        return search_hub

    def variants(self, text: str) -> list[ModelVariant]:
        """Return the tags of a model on Docker Hub; see `Varied.variants`. Other registries do not tell sizes."""
        reference = Reference.parse(text)
        if reference.registry != DEFAULT_REGISTRY:
            raise ModelNotFoundError(f"'{text}' is not on Docker Hub", remedy="Pull it by its name")
        return hub_variants(reference.repository)

    def header(self, text: str, transfer: Transfer) -> GgufFacts:
        """Return what the header of a model says; see `Varied.header`."""

        def read(found: RemoteModel) -> GgufFacts:
            manifest = Manifest.parse(found.manifest, name=text)
            layer = next((each for each in manifest.layers if each.role == "gguf"), None)
            if layer is None:
                raise ArtifactError(f"model '{text}' has no GGUF file")
            return header_of(found.origin(layer), layer.size_bytes, text)

        return self.read(text, transfer, read)

    def push(self, model: Outgoing, transfer: Transfer) -> None:
        """Push a model; see `Destination.push`. It goes to the registry itself, and to no mirror."""
        own = Endpoint.of_registry(model.reference.registry, insecure=self._insecure)
        credentials = self._credentials.lookup(own.host)
        with Registry(own, model.reference, credentials, scopes(model)) as registry:
            push(registry, model, transfer)

    def _fetch_from(self, endpoint: Endpoint, reference: Reference, transfer: Transfer) -> bytes:
        name = self._display(reference)
        stop = threading.Event()
        inner = replace(transfer, cancelled=lambda: stop.is_set() or transfer.cancelled())
        with Registry(endpoint, reference, self._credentials.lookup(endpoint.host)) as registry:

            def end() -> None:
                stop.set()
                registry.abort()

            run = partial(together, most=_LAYERS_AT_ONCE, check=transfer.check, stop=end)
            [found] = run([lambda: _fetch_model(registry, reference, name, inner)])
            manifest = Manifest.parse(found.manifest, name=name)
            layers = {layer.digest: layer for layer in manifest.layers}.values()
            for layer in layers:  # so that all of it is known before the first byte
                transfer.report(ProgressEvent("Waiting", layer.digest, 0, layer.size_bytes))
            run([partial(download, found.origin(one), one.digest, one.size_bytes, inner) for one in layers])
        # Last, so that a model whose layers are refused leaves nothing.
        with transfer.sink.write_blob(manifest.config.digest, len(found.config)) as writer:
            writer.write(found.config)
        return found.manifest


def _fetch_model(registry: Registry, reference: Reference, name: str, transfer: Transfer) -> RemoteModel:
    """Return what a model is, and refuse what is none before a large byte has come."""
    data = _fetch_manifest(registry, reference, name, transfer)
    if (image := config_of_image(data, name=name)) is not None:
        told = _fetch_document(registry, f"blobs/{image.digest}", image, transfer)
        imaged, layer = ImagedModel.parse(data, told, name=name)
        _check_format(Manifest.parse(imaged.manifest, name=name), name, transfer)
        ModelConfig.parse(imaged.config, name=name)
        whole = registry.blob(layer.digest)
        return RemoteModel(imaged.manifest, imaged.config, lambda blob: RangeOrigin(whole, imaged.places[blob.digest]))
    manifest = Manifest.parse(data, name=name)
    _check_format(manifest, name, transfer)
    config = _fetch_document(registry, f"blobs/{manifest.config.digest}", manifest.config, transfer)
    ModelConfig.parse(config, name=name)
    return RemoteModel(data, config, lambda blob: registry.blob(blob.digest))


def _check_format(manifest: Manifest, name: str, transfer: Transfer) -> None:
    if manifest.format is None:
        raise ArtifactError(
            f"model '{name}' has no GGUF file and no safetensors; models in other formats are not served"
        )
    if transfer.formats is not None and manifest.format not in transfer.formats:
        raise FormatError(name, manifest.format)


def _fetch_manifest(registry: Registry, reference: Reference, name: str, transfer: Transfer) -> bytes:
    wanted = reference.digest or reference.tag
    data, media_type = retry(
        lambda: _read_document(registry, f"manifests/{wanted}", reference.digest),
        transfer,
        attempts=registry.attempts,
    )
    if media_type not in (INDEX, DOCKER_INDEX):
        return data
    chosen = select_manifest(data, name=name)
    return _fetch_document(registry, f"manifests/{chosen.digest}", chosen, transfer)


def _fetch_document(registry: Registry, path: str, descriptor: Descriptor, transfer: Transfer) -> bytes:
    data, _ = retry(lambda: _read_document(registry, path, descriptor.digest), transfer, attempts=registry.attempts)
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
        raise ArtifactError(f"'{path}' is larger than {MAX_DOCUMENT_BYTES} bytes, the largest that a model's may be")
    expected = digest or (said if is_digest(said) else None)
    actual = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if expected is not None and actual != expected:
        raise DigestMismatchError(f"'{path}' came with other bytes: {expected} was promised, {actual} came")
    return data, media_type


@hookimpl
def dmrc_register_sources(settings: Settings) -> Sequence[Source]:
    """Register it, with the logins that Docker knows, and its mirrors where no others are set."""
    credentials = DockerCredentials.from_environment(os.environ)
    mirrors = docker_mirrors(daemon_files(os.environ)) if settings.mirrors is None else settings.mirrors
    registry, insecure = settings.default_registry, settings.insecure_registry
    return [OciSource(credentials, default_registry=registry, insecure=insecure, mirrors=mirrors)]
