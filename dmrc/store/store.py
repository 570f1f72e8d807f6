"""The models on this machine: list, find, read, add, tag, remove."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from dmrc.artifact import Manifest, ModelConfig
from dmrc.errors import ArtifactError, ConflictError, InvalidReferenceError, ModelNotFoundError
from dmrc.gguf import GgufFacts
from dmrc.reference import DEFAULT_REGISTRY, Reference, model_id
from dmrc.store.blobs import BlobWriter
from dmrc.store.files import storage_errors
from dmrc.store.garbage import Pruned, Usage, prune, usage
from dmrc.store.layout import Layout, Named, with_tags
from dmrc.store.lookup import find, missing
from dmrc.store.model import BlobMissingError, ModelFiles, Removed, StoredModel
from dmrc.store.model_files import facts_of, files_of, without_trained_context
from dmrc.store.partials import PartialBlob, Partials
from dmrc.store.verification import HashProgress, Verified, verify

_log = logging.getLogger(__name__)


class Store:
    """The OCI image layout in one directory. Methods block; threads and processes may use it at the same time."""

    def __init__(self, root: Path) -> None:
        """Use the store at `root`; the first write makes it."""
        self.root = root
        self._layout = Layout(root)
        self.partials = Partials(root / "partial", self._layout.blobs)
        """Blobs that are on their way, and what interrupted pulls left of some."""

    def version(self) -> tuple[int, int] | None:
        """Return what another index is told by: whoever changes the store replaces that file. None without one."""
        return self._layout.version()

    def named(self) -> list[Named]:
        """Return what the index says of each manifest, in the order in which they came.

        Raises:
            StoreError: The store cannot be read.
        """
        return self._layout.named()

    def models(self) -> list[StoredModel]:
        """Return every model, in the order in which they came. What is no model, or damaged, is left out.

        Raises:
            StoreError: The store cannot be read.
        """
        models = []
        for named in self._layout.named():
            try:
                models.append(self.read(named))
            except (ArtifactError, BlobMissingError) as error:
                _log.debug("left out of the list: %s", error)
        return models

    def names(self) -> list[str]:
        """Return the full references of all models, which needs no more than the index.

        Raises:
            StoreError: The store cannot be read.
        """
        return [tag for named in self._layout.named() for tag in named.tags]

    def resolve(self, text: str, default_registry: str = DEFAULT_REGISTRY) -> StoredModel:
        """Return the model that a reference, or 12 or 64 hex digits of an ID, names.

        Raises:
            ModelNotFoundError: It is not in the store.
            BlobMissingError: Its manifest or config is missing or damaged.
            ArtifactError: Something by that name is in the store, but it is no model.
            InvalidReferenceError: `text` is neither.
        """
        return self.read(find(self._layout.named(), text, default_registry))

    def knows(self, text: str, default_registry: str = DEFAULT_REGISTRY) -> bool:
        """Return whether there is a model of that name or ID, whole or not.

        Raises:
            InvalidReferenceError: `text` is neither.
        """
        try:
            find(self._layout.named(), text, default_registry)
        except ModelNotFoundError:
            return False
        return True

    def files(self, model: StoredModel) -> ModelFiles:
        """Return where the model's files lie, complete.

        Raises:
            BlobMissingError: A file is missing.
            ArtifactError: The model is in a format that is not known.
        """
        return files_of(self._layout, model)

    def facts(self, model: StoredModel) -> GgufFacts | None:
        """Read the facts from the headers of the model's GGUF files; None for one in another format.

        Raises:
            BlobMissingError: A file is missing.
            GgufError: A file is no GGUF.
        """
        return facts_of(self._layout, model)

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
        return self._layout.has_blob(digest, size_bytes)

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
            absent = [blob.digest for blob in parsed.blobs if not self.has_blob(blob.digest, blob.size_bytes)]
            if absent or not self.has_blob(digest, len(manifest)):
                raise BlobMissingError(f"blob {(absent or [digest])[0]} is not in the store, or not whole")
            now = int(time.time())
            self._layout.write(with_tags(entries, digest, len(manifest), names, pulled_at=now))
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
            changed = with_tags(entries, model.digest, size, {str(reference)}, pulled_at=mine.pulled_at)
            self._layout.write(changed)
        return self._get(model.digest)

    def plan_removal(self, text: str, *, force: bool = False, default_registry: str = DEFAULT_REGISTRY) -> Removed:
        """Return what `remove` would do now.

        Raises:
            ModelNotFoundError: It is not in the store.
            ConflictError: An ID names a model with several tags, and `force` is not set.
        """
        named = find(self._layout.named(), text, default_registry)
        prefix = model_id(text)
        by_id = prefix is not None and named.digest.startswith(f"sha256:{prefix}")
        tag = None if by_id else str(Reference.parse(text, default_registry=default_registry))
        if tag not in named.tags and len(named.tags) > 1 and not force:
            raise ConflictError(
                f"unable to delete model '{text}' (must be forced) due to multiple tag references",
                remedy=f"Remove {' and '.join(named.tags)} one by one, or run: dmrc rm --force {text}",
            )
        gone = (tag,) if tag is not None and tag in named.tags else named.tags
        return Removed(gone, (named.digest,) if gone == named.tags else ())

    def remove(self, text: str, *, force: bool = False, default_registry: str = DEFAULT_REGISTRY) -> Removed:
        """Take a tag away, and the model with its last tag; an ID takes the model. A damaged model goes like others.

        Raises:
            ModelNotFoundError: It is not in the store.
            ConflictError: An ID names a model with several tags, and `force` is not set.
        """
        with self._layout.lock() as entries:
            removed = self.plan_removal(text, force=force, default_registry=default_registry)
            kept = [e for e in entries if e.digest not in removed.deleted and e.tag not in removed.untagged]
            self._layout.write(kept)
            for digest in removed.deleted:
                self._layout.delete(digest)
        return removed

    def writing(self) -> AbstractContextManager[None]:
        """Return a context manager for bringing blobs and adding a manifest: inside, `prune` leaves them alone."""
        return self._layout.writing()

    def verify(
        self, texts: Iterable[str], progress: HashProgress, default_registry: str = DEFAULT_REGISTRY
    ) -> Verified:
        """Hash every blob of the models that references or IDs name, or of all where none is given.

        A damaged one loses its name, so that nothing uses it and the next pull brings it anew.

        Raises:
            ModelNotFoundError: One of them is not in the store.
            InvalidReferenceError: A text is neither.
            StoreError: The store cannot be read, or a damaged blob cannot be renamed.
        """
        named = self._layout.named()
        chosen = {model.digest: model for model in (find(named, text, default_registry) for text in texts)}
        return verify(self._layout, chosen.values() or named, progress)

    def prune(self, *, dry_run: bool = False) -> Pruned:
        """Remove what no model refers to and nobody is writing, interrupted pulls too.

        Raises:
            StoreError: The store cannot be written.
        """
        interrupted = [each for each in self.partials.leftovers() if dry_run or self.partials.remove(each)]
        pruned = prune(self._layout, dry_run=dry_run)
        return replace(pruned, removed=(*pruned.removed, *interrupted))

    def usage(self) -> Usage:
        """Return what the store takes of the disk."""
        return usage(self._layout)

    def _get(self, digest: str) -> StoredModel:
        named = next((named for named in self._layout.named() if named.digest == digest), None)
        if named is None:
            raise ModelNotFoundError(f"model '{digest}' was removed meanwhile", remedy="Try again")
        return self.read(named)

    def read(self, named: Named) -> StoredModel:
        """Return a model of the index.

        Raises:
            BlobMissingError: Its manifest or config is missing or damaged.
            ArtifactError: It is no model.
        """
        manifest = Manifest.parse(self._document(named, named.digest), name=named.digest)
        config = ModelConfig.parse(self._document(named, manifest.config.digest), name=named.digest)
        with storage_errors(self.root):
            came_at = self._layout.blob(named.digest).stat().st_mtime
        return StoredModel(
            digest=named.digest,
            tags=named.tags,
            manifest=manifest,
            config=without_trained_context(self._layout, manifest, config.completed(manifest)),
            pulled_at=int(came_at) if named.pulled_at is None else named.pulled_at,
        )

    def _document(self, named: Named, digest: str) -> bytes:
        data = self._layout.document(digest)
        if data is None:
            raise missing(digest, named)
        return data
