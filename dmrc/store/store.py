"""The models on this machine: list, find, read, add, tag, remove."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from dmrc.artifact import MANIFEST, Descriptor, Manifest, ModelConfig
from dmrc.errors import ArtifactError, ConflictError, InvalidReferenceError, ModelNotFoundError
from dmrc.gguf import GgufFacts
from dmrc.reference import DEFAULT_REGISTRY, Reference, is_digest, model_id
from dmrc.store import maintenance
from dmrc.store.blobs import BlobWriter
from dmrc.store.bundles import split_files
from dmrc.store.files import storage_errors
from dmrc.store.layout import Entry, Layout
from dmrc.store.maintenance import Garbage, HashProgress, Usage, Verified
from dmrc.store.model import BlobMissingError, ModelFiles, Removed, StoredModel
from dmrc.store.partials import PartialBlob, Partials

_log = logging.getLogger(__name__)


class Store:
    """The OCI image layout in one directory. Methods block; threads and processes may use it at the same time."""

    def __init__(self, root: Path) -> None:
        """Use the store at `root`; the first write makes it."""
        self.root = root
        self._layout = Layout(root)
        self.partials = Partials(root / "partial", self._layout.blobs)
        """Blobs that are on their way, and what interrupted pulls left of some."""

    def models(self) -> list[StoredModel]:
        """Return every model, in the order in which they came. What is no model, or damaged, is left out.

        Raises:
            StoreError: The store cannot be read.
        """
        entries = self._layout.entries()
        digests = dict.fromkeys(entry.digest for entry in entries)
        models = (self._read(digest, entries) for digest in digests if digest is not None)
        return [model for model in models if model is not None]

    def resolve(self, text: str, default_registry: str = DEFAULT_REGISTRY) -> StoredModel:
        """Return the model that a reference, or 12 or 64 hex digits of an ID, names.

        Raises:
            ModelNotFoundError: It is not in the store.
            InvalidReferenceError: `text` is neither.
        """
        models = self.models()
        prefix = model_id(text)
        for model in models:
            if prefix is not None and model.digest.startswith(f"sha256:{prefix}"):
                return model
        if is_digest(text.strip()):
            raise ModelNotFoundError(f"model '{text.strip()}' is not in the store", remedy="Run: dmrc list")
        reference = Reference.parse(text, default_registry=default_registry)
        for model in models:
            if str(reference) in model.tags or reference.digest == model.digest:
                return model
        name = text.strip()
        raise ModelNotFoundError(f"model '{name}' is not in the store", remedy=f"Run: dmrc pull {name}")

    def files(self, model: StoredModel) -> ModelFiles:
        """Return where the model's files lie, complete.

        Raises:
            BlobMissingError: A file is missing.
            ArtifactError: The model has no GGUF file.
        """
        shards = self._paths(model.manifest.gguf_layers, model)
        if not shards:
            raise ArtifactError(f"model '{_name(model)}' is in the format '{model.config.format}'; only gguf is served")
        if len(shards) > 1:
            with storage_errors(self.root):
                shards = split_files(self._layout.bundles, model.digest, shards)
        mmproj = self._paths(model.manifest.with_role("mmproj"), model)
        template = self._paths(model.manifest.with_role("chat_template"), model)
        return ModelFiles(shards[0], next(iter(mmproj), None), next(iter(template), None))

    def facts(self, model: StoredModel) -> GgufFacts:
        """Read the facts from the headers of the model's GGUF files.

        Raises:
            BlobMissingError: A file is missing.
            GgufError: A file is no GGUF.
        """
        facts = []
        for path in self._paths(model.manifest.gguf_layers, model):
            with storage_errors(path), path.open("rb") as stream:
                facts.append(GgufFacts.parse(stream, name=_name(model)))
        if not facts:
            raise ArtifactError(f"model '{_name(model)}' has no GGUF file")
        return facts[0].with_shards(facts[1:])

    def document(self, model: StoredModel) -> bytes:
        """Return the bytes of a model's manifest.

        Raises:
            ModelNotFoundError: The model was removed meanwhile.
        """
        data = self._layout.document(model.digest)
        if data is None:
            raise ModelNotFoundError(f"model '{model.digest}' was removed meanwhile", remedy="Try again")
        return data

    def has_blob(self, digest: str, size_bytes: int) -> bool:
        """Return whether the blob is here with that size; its bytes were checked when it came."""
        try:
            return self._layout.blob(digest).stat().st_size == size_bytes
        except OSError:
            return False

    def open_blob(self, digest: str, size_bytes: int) -> BinaryIO:
        """Open a blob for reading; it stays readable when it is removed meanwhile.

        Raises:
            BlobMissingError: It is not here, or not whole.
        """
        try:
            stream = self._layout.blob(digest).open("rb")
        except OSError as error:
            raise BlobMissingError(f"blob {digest} cannot be read: {error.strerror or error}") from error
        if os.fstat(stream.fileno()).st_size != size_bytes:
            stream.close()
            raise BlobMissingError(f"blob {digest} is not whole in the store", remedy="Run: dmrc pull")
        return stream

    def write_blob(self, digest: str | None = None, size_bytes: int | None = None) -> BlobWriter:
        """Return a context manager that stores a blob, checking digest and size where they are given."""
        self._layout.create()
        return BlobWriter(self._layout.blobs, digest=digest, size_bytes=size_bytes)

    def open_partial(self, name: str, size_bytes: int) -> PartialBlob | None:
        """Hold a blob that is to be brought, by its digest or another name; None while somebody else holds it."""
        self._layout.create()
        return self.partials.open(name, size_bytes)

    def add(self, manifest: bytes, tags: Iterable[Reference] = ()) -> StoredModel:
        """Make a model out of blobs that are here, and give it tags, which other models lose.

        Raises:
            ArtifactError: It is not the manifest of a model.
            BlobMissingError: A blob is missing.
        """
        with self.write_blob() as writer:
            writer.write(manifest)
        digest, names = str(writer.digest), {str(tag) for tag in tags}
        parsed = Manifest.parse(manifest, name=digest)
        with self._layout.lock() as entries:
            # Under the lock: a removal may have taken a shared blob since its presence was seen.
            missing = [blob.digest for blob in parsed.blobs if not self.has_blob(blob.digest, blob.size_bytes)]
            if missing or not self.has_blob(digest, len(manifest)):
                raise BlobMissingError(f"blob {(missing or [digest])[0]} is not in the store, or not whole")
            now = int(time.time())
            self._layout.write(_with_tags(entries, digest, len(manifest), names, pulled_at=now))
        return self._get(digest)

    def tag(self, model: StoredModel, reference: Reference) -> StoredModel:
        """Give a model one more tag, which another model may lose.

        Raises:
            InvalidReferenceError: The reference has a digest.
            ModelNotFoundError: The model was removed meanwhile.
        """
        if reference.digest is not None:
            raise InvalidReferenceError(f"'{reference}' has a digest, and cannot be given as a tag")
        with self._layout.lock() as entries:
            mine = next((entry for entry in entries if entry.digest == model.digest), None)
            if mine is None:
                raise ModelNotFoundError(f"model '{model.digest}' is not in the store", remedy="Run: dmrc list")
            with storage_errors(self.root):
                size = self._layout.blob(model.digest).stat().st_size
            changed = _with_tags(entries, model.digest, size, {str(reference)}, pulled_at=mine.pulled_at)
            self._layout.write(changed)
        return self._get(model.digest)

    def remove(self, text: str, *, force: bool = False, default_registry: str = DEFAULT_REGISTRY) -> Removed:
        """Take a tag away, and the model with its last tag; an ID takes the model.

        Raises:
            ModelNotFoundError: It is not in the store.
            ConflictError: An ID names a model with several tags, and `force` is not set.
        """
        with self._layout.lock() as entries:
            model = self.resolve(text, default_registry)
            prefix = model_id(text)
            by_id = prefix is not None and model.digest.startswith(f"sha256:{prefix}")
            tag = None if by_id else str(Reference.parse(text, default_registry=default_registry))
            if tag not in model.tags and len(model.tags) > 1 and not force:
                raise ConflictError(
                    f"unable to delete model '{text}' (must be forced) due to multiple tag references",
                    remedy=f"Remove {' and '.join(model.tags)} one by one, or run: dmrc rm --force {text}",
                )
            gone = {tag} if tag is not None and tag in model.tags else set(model.tags)
            is_last = gone == set(model.tags)
            self._layout.write([e for e in entries if e.digest != model.digest or not (is_last or e.tag in gone)])
            if is_last:
                self._layout.delete(model.digest)
        return Removed(tuple(sorted(gone)), (model.digest,) if is_last else ())

    def verify(self, models: Iterable[StoredModel], progress: HashProgress) -> Verified:
        """Hash every file of the models again; a damaged one is taken out, so that the next pull brings it anew."""
        return maintenance.verify(self._layout, models, progress)

    def prune(self, *, dry_run: bool = False) -> list[Garbage]:
        """Remove what no model refers to and nobody is writing, interrupted pulls too, and return it."""
        interrupted = [each for each in self.partials.leftovers() if dry_run or self.partials.remove(each)]
        return maintenance.prune(self._layout, dry_run=dry_run) + interrupted

    def usage(self) -> Usage:
        """Return what the store takes of the disk."""
        return maintenance.usage(self._layout)

    def _get(self, digest: str) -> StoredModel:
        model = self._read(digest, self._layout.entries())
        if model is None:
            raise ModelNotFoundError(f"model '{digest}' was removed meanwhile", remedy="Try again")
        return model

    def _read(self, digest: str, entries: list[Entry]) -> StoredModel | None:
        mine = [entry for entry in entries if entry.digest == digest]
        try:
            manifest = Manifest.parse(self._layout.document(digest) or b"", name=digest)
            config = ModelConfig.parse(self._layout.document(manifest.config.digest) or b"", name=digest)
        except ArtifactError as error:
            _log.debug("left out of the list: %s", error)
            return None
        return StoredModel(
            digest=digest,
            tags=tuple(sorted({entry.tag for entry in mine if entry.tag is not None})),
            manifest=manifest,
            config=config,
            pulled_at=max((entry.pulled_at for entry in mine if entry.pulled_at is not None), default=None),
        )

    def _paths(self, layers: Iterable[Descriptor], model: StoredModel) -> list[Path]:
        paths = []
        for layer in layers:
            if not self.has_blob(layer.digest, layer.size_bytes):
                raise BlobMissingError(
                    f"blob {layer.digest} of model '{_name(model)}' is missing or not whole",
                    remedy=f"Run: dmrc pull {_name(model)}",
                )
            paths.append(self._layout.blob(layer.digest))
        return paths


def _with_tags(
    entries: list[Entry], digest: str, size_bytes: int, names: set[str], *, pulled_at: int | None
) -> list[Entry]:
    """Return the entries with these tags, beside those that it has, on one model and on no other."""
    others = [e.without_tag() if e.tag in names else e for e in entries if e.digest != digest]
    tagged = {entry.digest for entry in others if entry.tag is not None}
    # A model that lost its last tag stays, without one, until it is removed.
    kept = [entry for entry in others if entry.tag is not None or entry.digest not in tagged]
    mine = names | {entry.tag for entry in entries if entry.digest == digest and entry.tag is not None}
    tags: list[str | None] = [*sorted(mine)] or [None]
    return kept + [Entry.new(MANIFEST, digest, size_bytes, tag=tag, pulled_at=pulled_at) for tag in tags]


def _name(model: StoredModel) -> str:
    return Reference.parse(model.tags[0]).display() if model.tags else model.digest
