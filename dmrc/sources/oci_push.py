"""Models into any OCI registry: the blobs side by side, and the manifest when all of them are there."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

from dmrc.artifact import MANIFEST
from dmrc.errors import DigestMismatchError
from dmrc.sources.destination import Outgoing
from dmrc.sources.registry import Registry
from dmrc.sources.request import RegistryRequest
from dmrc.sources.retry import retry
from dmrc.sources.source import ProgressEvent, Transfer
from dmrc.sources.threads import together
from dmrc.sources.upload import Upload

_LAYERS_AT_ONCE = 4


def mount_candidates(model: Outgoing) -> list[str]:
    """Return the other repositories of the same registry that are known to have, or to have had, the model."""
    target = model.reference
    there = [known.repository for known in model.known_as if known.registry == target.registry]
    return [name for name in dict.fromkeys(there) if name != target.repository]


def scopes(model: Outgoing) -> list[str]:
    """Return what to ask of a token server. Source: https://distribution.github.io/distribution/spec/auth/scope/."""
    mounts = [f"repository:{repository}:pull" for repository in mount_candidates(model)]
    return [f"repository:{model.reference.repository}:pull,push", *mounts]


def push(registry: Registry, model: Outgoing, transfer: Transfer) -> None:
    """Push a model; see `Destination.push`."""
    stop = threading.Event()
    inner = replace(transfer, cancelled=lambda: stop.is_set() or transfer.cancelled())

    def end() -> None:
        stop.set()
        registry.abort()

    blobs = {blob.digest: blob for blob in model.manifest.blobs}.values()
    for blob in blobs:  # so that all of it is known before the first byte
        transfer.report(ProgressEvent("Waiting", blob.digest, 0, blob.size_bytes))
    uploads = [Upload(registry, blob, inner, mount_candidates(model)).run for blob in blobs]
    together(uploads, most=_LAYERS_AT_ONCE, check=transfer.check, stop=end)
    together([lambda: _put_manifest(registry, model, inner)], most=1, check=transfer.check, stop=end)


def _put_manifest(registry: Registry, model: Outgoing, transfer: Transfer) -> None:
    media_type = json.loads(model.document).get("mediaType") or MANIFEST
    request = RegistryRequest("PUT", f"manifests/{model.reference.tag}", {"Content-Type": media_type}, model.document)

    def put() -> None:
        with registry.send(request, (200, 201, 202, 204)) as response:
            said = response.headers.get("Docker-Content-Digest", model.digest)
        if said != model.digest:
            raise DigestMismatchError(f"the registry keeps the manifest as {said}, not as {model.digest}")

    retry(put, transfer)
