"""The OCI image layout on disk. Source: https://github.com/opencontainers/image-spec/blob/main/image-layout.md."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dmrc.artifact import INDEX, MAX_DOCUMENT_BYTES
from dmrc.errors import InvalidReferenceError, StoreError
from dmrc.reference import Reference, is_digest
from dmrc.store.files import replace_file, storage_errors

_TAG = "org.opencontainers.image.ref.name"
_PULLED_AT = "dev.dmrc.pulled-at"
_LOCK_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `index.json`: a manifest, under one tag or none."""

    descriptor: Mapping[str, object]
    """As it stands in the file; what other programs wrote is kept."""

    @classmethod
    def new(cls, media_type: str, digest: str, size_bytes: int, *, tag: str | None, pulled_at: int | None) -> Entry:
        """Make an entry for a manifest."""
        annotations = {_TAG: tag, _PULLED_AT: None if pulled_at is None else str(pulled_at)}
        descriptor: dict[str, object] = {"mediaType": media_type, "digest": digest, "size": size_bytes}
        return cls(
            descriptor | {"annotations": {key: value for key, value in annotations.items() if value is not None}}
        )

    def without_tag(self) -> Entry:
        """Return the entry with no tag."""
        annotations = self.descriptor.get("annotations")
        kept = (
            {key: value for key, value in annotations.items() if key != _TAG} if isinstance(annotations, dict) else {}
        )
        return Entry({**self.descriptor, "annotations": kept})

    @property
    def digest(self) -> str | None:
        """Return the digest of the manifest, or None when it is not one that we use."""
        digest = self.descriptor.get("digest")
        return digest if isinstance(digest, str) and is_digest(digest) else None

    @property
    def tag(self) -> str | None:
        """Return the full reference, or None without one."""
        tag = self._annotation(_TAG)
        try:
            return None if tag is None else str(Reference.parse(tag))
        except InvalidReferenceError:
            return None

    @property
    def pulled_at(self) -> int | None:
        """Return the Unix time that `new` got."""
        text = self._annotation(_PULLED_AT) or ""
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None

    def _annotation(self, key: str) -> str | None:
        annotations = self.descriptor.get("annotations")
        value = annotations.get(key) if isinstance(annotations, dict) else None
        return value if isinstance(value, str) else None


class Layout:
    """Reads and changes `index.json`, and knows where blobs lie."""

    def __init__(self, root: Path) -> None:
        """Use the layout at `root`; it is made by the first write."""
        self.root = root
        self.blobs = root / "blobs" / "sha256"
        self.bundles = root / "bundles"
        self._index = root / "index.json"

    def blob(self, digest: str) -> Path:
        """Return the path of a blob, whether it is there or not."""
        return self.blobs / digest.removeprefix("sha256:")

    def create(self) -> None:
        """Make the directories and the marker file of a layout."""
        with storage_errors(self.root):
            self.blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
            marker = self.root / "oci-layout"
            if not marker.exists():
                replace_file(marker, b'{"imageLayoutVersion":"1.0.0"}')

    def entries(self) -> list[Entry]:
        """Read the index, without a lock: it is replaced as a whole.

        Raises:
            StoreError: It cannot be read, or is damaged.
        """
        with storage_errors(self.root):
            try:
                data = self._index.read_bytes()
            except FileNotFoundError:
                return []
        try:
            manifests = json.loads(data)["manifests"]
            return [Entry(dict(manifest)) for manifest in manifests or []]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise StoreError(f"'{self._index}' is damaged: it is no OCI index") from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[list[Entry]]:
        """Keep all other writers out, and give the entries as they stand; `write` changes them.

        Raises:
            StoreError: The lock is not to be had.
        """
        import filelock

        self.create()
        lock = filelock.FileLock(self.root / "index.json.lock", timeout=_LOCK_SECONDS)
        try:
            with storage_errors(self.root):
                lock.acquire()
        except filelock.Timeout as error:
            raise StoreError(f"another process has kept '{self._index}' locked for {_LOCK_SECONDS} seconds") from error
        try:
            yield self.entries()
        finally:
            lock.release()

    def write(self, entries: list[Entry]) -> None:
        """Replace the index; the lock must be held."""
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [dict(entry.descriptor) for entry in entries]}
        with storage_errors(self.root):
            replace_file(self._index, json.dumps(index, indent=2).encode())

    def document(self, digest: str) -> bytes | None:
        """Return a manifest or config whose bytes are still those of its digest, or None."""
        try:
            with self.blob(digest).open("rb") as stream:
                data = stream.read(MAX_DOCUMENT_BYTES + 1)
        except OSError:
            return None
        return data if f"sha256:{hashlib.sha256(data).hexdigest()}" == digest else None

    def referred(self, entries: Iterable[Entry]) -> set[str]:
        """Return the digests of all that these entries need."""
        return {name for entry in entries if entry.digest is not None for name in self._blobs_of(entry.digest)}

    def delete(self, digest: str) -> None:
        """Delete the blobs that only this manifest, which the index no longer has, refers to; the lock must be held."""
        gone = self._blobs_of(digest) - self.referred(self.entries())
        with storage_errors(self.root):
            shutil.rmtree(self.bundles / digest.removeprefix("sha256:"), ignore_errors=True)
            for name in gone:
                self.blob(name).unlink(missing_ok=True)

    def _blobs_of(self, digest: str, depth: int = 2) -> set[str]:
        """Return the digests that a manifest or index names, its own included, whoever put it here."""
        found = {digest}
        try:
            document = json.loads(self.document(digest) or b"{}")
        except (ValueError, RecursionError):
            return found
        named = [document.get("config"), *(document.get("layers") or [])] if isinstance(document, dict) else []
        found |= {str(blob.get("digest")) for blob in named if isinstance(blob, dict)}
        nested = document.get("manifests") if isinstance(document, dict) else None
        for entry in nested if isinstance(nested, list) and depth else []:
            if isinstance(entry, dict) and is_digest(str(entry.get("digest"))):
                found |= self._blobs_of(str(entry["digest"]), depth - 1)
        return {name for name in found if is_digest(name)}
