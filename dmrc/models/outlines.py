"""The outline of a model: all that its manifest, its config and the headers of its files say, and none of its weights.

A store of outlines answers as one of models does, while nothing of it is loaded. It is for a directory of its own that
goes when it was read.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from dmrc.artifact import Descriptor, Manifest
from dmrc.errors import InputError
from dmrc.gguf import GgufFacts
from dmrc.reference import Reference
from dmrc.sources import Source, Transfer
from dmrc.sources.beginning import Beginning
from dmrc.sources.download import DownloadOrigin, download
from dmrc.sources.inspectable import Readable, RemoteModel
from dmrc.store import Store, StoredModel
from dmrc.store.files import storage_errors

_HEADERS = ("gguf", "mmproj", "lora")
"""Files of which the header alone is read; of weights in safetensors nothing but their size."""


@dataclass(frozen=True, slots=True)
class Outlines:
    """Brings outlines into a store that holds nothing else."""

    store: Store
    """Where they go."""
    sources: Sequence[Source]
    """Where models are, asked in order."""

    def bring(self, text: str) -> StoredModel:
        """Bring the outline of a model.

        Raises:
            InputError: Its place cannot be read in parts.
            ModelNotFoundError: No such model where it should be.
            RegistryError: A registry, or the network, failed.
            ArtifactError: What is there is no model that can be served.
        """
        transfer = Transfer(self.store)
        for source in self.sources:
            reference = source.recognize(text)
            if reference is None:
                continue
            if not isinstance(source, Readable):
                raise InputError(f"model '{text}' can only be read from the store", remedy=f"Run: dmrc pull {text}")
            with self.store.writing():
                return source.read(text, transfer, partial(self._bring, tag=reference, transfer=transfer))
        raise InputError(f"no source of models knows '{text}'", remedy="Run: dmrc plugins")

    def _bring(self, found: RemoteModel, tag: Reference, transfer: Transfer) -> StoredModel:
        manifest = Manifest.parse(found.manifest, name=str(tag))
        for blob in {each.digest: each for each in manifest.layers}.values():
            if blob.role in _HEADERS:
                self._write_hollow(blob, _header(found.origin(blob), blob))
            elif blob.role == "safetensors":
                self._write_hollow(blob, b"")
            else:
                download(found.origin(blob), blob.digest, blob.size_bytes, transfer)
        with self.store.write_blob(manifest.config.digest, len(found.config)) as writer:
            writer.write(found.config)
        return self.store.add(found.manifest, [tag])

    def _write_hollow(self, blob: Descriptor, start: bytes) -> None:
        """Write a file of the right size that begins so; what was not read takes no disk."""
        path = self.store.root / "blobs" / "sha256" / blob.digest.removeprefix("sha256:")
        with storage_errors(self.store.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as stream:
                stream.write(start)
                stream.truncate(blob.size_bytes)


def _header(origin: DownloadOrigin, blob: Descriptor) -> bytes:
    """Return as much of the beginning of a GGUF file as its header takes."""
    stream = Beginning(origin, blob.size_bytes)
    GgufFacts.parse(io.BufferedReader(stream), name=blob.digest)
    return bytes(stream.data)
