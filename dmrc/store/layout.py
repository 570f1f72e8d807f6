"""The OCI image layout on disk, which programs like skopeo read and write too, without our lock and annotations.

Source: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmrc.artifact import INDEX, MANIFEST, MAX_DOCUMENT_BYTES
from dmrc.errors import InvalidReferenceError, StoreError
from dmrc.files import replace_file
from dmrc.reference import Reference, is_digest
from dmrc.store.files import storage_errors

_TAG = "org.opencontainers.image.ref.name"
_PULLED_AT = "dev.dmrc.pulled-at"
_LOCK_SECONDS = 60
# skopeo writes index.json in place, so a reader may see half of it.
_HALF_WRITTEN_SECONDS = 0.5


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
        return None if tag is None else _full(tag)

    @property
    def pulled_at(self) -> int | None:
        """Return the Unix time that `new` got."""
        text = self._annotation(_PULLED_AT) or ""
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None

    def _annotation(self, key: str) -> str | None:
        annotations = self.descriptor.get("annotations")
        value = annotations.get(key) if isinstance(annotations, dict) else None
        return value if isinstance(value, str) else None


@functools.lru_cache(maxsize=4096)  # each index says nearly the same as the one before it
def _full(tag: str) -> str | None:
    try:
        return str(Reference.parse(tag))
    except InvalidReferenceError:
        return None


@dataclass(frozen=True, slots=True)
class Named:
    """A manifest of the index with all that the index says of it. What it names may be missing or damaged."""

    digest: str
    """`sha256:<64 hex>` of the manifest."""
    tags: tuple[str, ...]
    """Full references, in order."""
    pulled_at: int | None
    """Unix time of the last pull or package; None when another program brought it."""


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

    def has_blob(self, digest: str, size_bytes: int) -> bool:
        """Return whether the blob is here with that size; its bytes were checked when it came."""
        try:
            return self.blob(digest).stat().st_size == size_bytes
        except OSError:
            return False

    def create(self) -> None:
        """Make the directories and the marker file of a layout."""
        with storage_errors(self.root):
            self.blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
            marker = self.root / "oci-layout"
            if not marker.exists():
                replace_file(marker, b'{"imageLayoutVersion":"1.0.0"}')

    def entries(self) -> list[Entry]:
        """Read the index, without a lock: it is replaced as a whole. Each tag is on one entry.

        Raises:
            StoreError: It cannot be read, or is damaged.
        """
        deadline = time.monotonic() + _HALF_WRITTEN_SECONDS
        while True:
            with storage_errors(self.root):
                try:
                    data = self._index.read_bytes()
                except FileNotFoundError:
                    return []
            try:
                manifests = json.loads(data)["manifests"]
                return _settled([Entry(dict(manifest)) for manifest in manifests or []])
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                if time.monotonic() > deadline:
                    raise StoreError(f"'{self._index}' is damaged: it is not an OCI index") from error
                time.sleep(0.02)

    def version(self) -> tuple[int, int] | None:
        """Return when the index was written and which file it is; None where there is none."""
        try:
            status = self._index.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino

    def named(self) -> list[Named]:
        """Return each manifest of the index once, in the order in which they came.

        Raises:
            StoreError: The index cannot be read, or is damaged.
        """
        found: dict[str, list[Entry]] = {}
        for entry in self.entries():
            if entry.digest is not None:
                found.setdefault(entry.digest, []).append(entry)
        return [_named(digest, entries) for digest, entries in found.items()]

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

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Keep `prune` away from blobs that come before the manifest which will name them. Any number may write.

        Raises:
            StoreError: The store cannot be written.
        """
        self.create()
        with self._writers_lock() as descriptor:
            with storage_errors(self.root):
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield

    @contextlib.contextmanager
    def nobody_writing(self) -> Iterator[bool]:
        """Keep those who want to write waiting, and give True; or give False where somebody writes."""
        with self._writers_lock() as descriptor:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextlib.contextmanager
    def _writers_lock(self) -> Iterator[int]:
        with storage_errors(self.root):
            descriptor = os.open(self.root / "writers.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

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
        return {name for entry in entries if entry.digest is not None for name in self.blobs_of(entry.digest)}

    def delete(self, digest: str) -> None:
        """Delete the blobs that only this manifest, which the index no longer has, refers to; the lock must be held."""
        others = self.entries()
        gone = self.blobs_of(digest) - self.referred(others)
        if any(other.digest and self.document(other.digest) is None for other in others):
            gone = {digest}  # one that is damaged does not tell which blobs it needs
        with storage_errors(self.root):
            shutil.rmtree(self.bundles / digest.removeprefix("sha256:"), ignore_errors=True)
            for name in gone:
                self.blob(name).unlink(missing_ok=True)

    def blobs_of(self, digest: str, depth: int = 2) -> set[str]:
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
                found |= self.blobs_of(str(entry["digest"]), depth - 1)
        return {name for name in found if is_digest(name)}


def _settled(entries: list[Entry]) -> list[Entry]:
    """Return the entries with each tag on one of them: the last, since other programs append what they bring."""
    tags = [entry.tag for entry in entries]
    owners = {tag: index for index, tag in enumerate(tags)}
    settled = zip(entries, tags, range(len(entries)), strict=True)
    return [entry if tag is None or owners[tag] == index else entry.without_tag() for entry, tag, index in settled]


def _named(digest: str, entries: Sequence[Entry]) -> Named:
    tags = sorted({entry.tag for entry in entries if entry.tag is not None})
    pulled_at = max((entry.pulled_at for entry in entries if entry.pulled_at is not None), default=None)
    return Named(digest, tuple(tags), pulled_at)


def with_tags(
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
