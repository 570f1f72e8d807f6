"""Blobs that are on their way, kept over interruptions so that the next pull goes on where the last one ended.

Each has two files in `<store>/partial`, named `sha256-<64 hex>`: `.data`, the bytes at their places, and
`.journal`, which says what of it is there (`dmrc/store/journal.py`) and carries the lock of who brings it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from dmrc.errors import CancelledError, DigestMismatchError, StoreError
from dmrc.reference import is_digest
from dmrc.store.files import disk_error, disk_full, keep_as, storage_errors
from dmrc.store.garbage import Garbage
from dmrc.store.held_files import is_held, remove_unless_held
from dmrc.store.journal import PIECE_BYTES, DownloadJournal

_HASH_BYTES = 1 << 20


class PartialBlob:
    """A context manager that holds one blob while it comes. What came stays when the block ends without `finish`.

    `write` may be called by several threads at once, the rest by one.
    """

    def __init__(self, journal: DownloadJournal, blobs: Path) -> None:
        """Go on with what the journal, which is locked, says is there. See `open_partial`."""
        self.size_bytes = journal.size_bytes
        """Bytes of the whole blob."""
        self._journal = journal
        self._blobs = blobs
        self._data = journal.path.with_suffix(".data")
        self._descriptor = os.open(self._data, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._changed = threading.Condition()
        self._writers = 0
        self._is_open = True
        self._is_kept = True
        self._hash = hashlib.sha256()
        self._hashed = 0
        if os.fstat(self._descriptor).st_size < self._end():
            journal.clear()
        self.received = sum(journal.counts)
        """Bytes that are there."""
        self.is_resumed = self.received > 0
        """Whether some of them are from an earlier attempt."""

    def __enter__(self) -> Self:
        """Reserve room on the disk for the whole blob.

        Raises:
            StoreError: There is not so much.
        """
        try:
            if self.size_bytes and hasattr(os, "posix_fallocate"):
                with self._disk():
                    os.posix_fallocate(self._descriptor, 0, self.size_bytes)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let others have the blob, and give back the room that was reserved for what has not come."""
        self._close()

    def missing(self) -> list[tuple[int, int]]:
        """Return where bytes are missing: the first and one past the last, in order, none longer than a piece."""
        found = []
        for piece, count in enumerate(self._journal.counts):
            start, size = piece * PIECE_BYTES, self._journal.piece_size(piece)
            if count < size:
                found.append((start + count, start + size))
        return found

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes at their place, each piece from its first byte on; those that are there are passed over.

        Raises:
            StoreError: The disk is full or fails; then nothing is kept, which gives its room back.
            CancelledError: The block has ended.
        """
        view = memoryview(data)
        while view:
            piece, at = divmod(offset, PIECE_BYTES)
            part = view[: PIECE_BYTES - at]
            self._write_piece(piece, at, part)
            offset += len(part)
            view = view[len(part) :]

    def hash_some(self) -> bool:
        """Hash the next bytes that are there without a gap; return False when there are none."""
        count = min(self._contiguous() - self._hashed, _HASH_BYTES)
        if count <= 0:
            return False
        with self._disk():
            data = os.pread(self._descriptor, count, self._hashed)
        self._hash.update(data)
        self._hashed += len(data)
        return bool(data)

    def finish(self, digest: str | None) -> str:
        """Check the blob, of which all bytes must be there, give it its name in the store, and return its digest.

        Raises:
            DigestMismatchError: The bytes are not those of `digest`.
            StoreError: The disk fails.
        """
        while self.hash_some():
            pass
        found = f"sha256:{self._hash.hexdigest()}"
        if self._hashed != self.size_bytes:
            raise DigestMismatchError(f"blob {digest} should have {self.size_bytes} bytes, but {self._hashed} came")
        if digest is not None and found != digest:
            raise DigestMismatchError(f"blob {digest} came with other bytes: their digest is {found}")
        with self._disk():
            keep_as(self._descriptor, self._data, self._blobs / found.removeprefix("sha256:"))
        self.restart()
        return found

    def restart(self) -> None:
        """Forget all bytes; without new ones, the end of the block leaves nothing."""
        with self._changed:
            self._journal.clear()
            self.received = 0
        self._hash, self._hashed, self.is_resumed = hashlib.sha256(), 0, False

    def _write_piece(self, piece: int, at: int, part: memoryview) -> None:
        with self._changed:
            if not self._is_open:
                raise CancelledError("the pull was ended")
            known = self._journal.counts[piece]
            self._writers += 1
        end = at + len(part)
        try:
            if at > known or end > self._journal.piece_size(piece):
                raise ValueError(f"bytes {at} to {end} do not go on after byte {known} of piece {piece}")
            with self._disk():
                _write(self._descriptor, part[known - at :], piece * PIECE_BYTES + known)
                self._record(piece, end)
        except StoreError:
            self._is_kept = False
            raise
        finally:
            with self._changed:
                self._writers -= 1
                self._changed.notify_all()

    def _record(self, piece: int, end: int) -> None:
        with self._changed:
            known = self._journal.counts[piece]
            if end > known:
                self._journal.record(piece, end)
                self.received += end - known

    def _contiguous(self) -> int:
        """Return the first byte that is missing."""
        counts, piece = self._journal.counts, self._hashed // PIECE_BYTES
        while piece < len(counts) and counts[piece] == PIECE_BYTES:
            piece += 1
        return piece * PIECE_BYTES + (counts[piece] if piece < len(counts) else 0)

    def _end(self) -> int:
        """Return one past the last byte that is there."""
        pieces = [piece for piece, count in enumerate(self._journal.counts) if count]
        return pieces[-1] * PIECE_BYTES + self._journal.counts[pieces[-1]] if pieces else 0

    def _close(self) -> None:
        with self._changed:
            self._is_open = False
            # A thread whose connection still delivers must not write when the blob is another's.
            while self._writers:
                self._changed.wait()
        is_empty = self.received == 0 or not self._is_kept
        try:
            with storage_errors(self._data):
                if is_empty:
                    self._data.unlink(missing_ok=True)
                else:
                    os.ftruncate(self._descriptor, self._end())
        finally:
            os.close(self._descriptor)
            self._journal.close(remove=is_empty)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise disk_error(self._blobs, error, self.size_bytes, self.received) from error


class Partials:
    """The directory of partial blobs of one store."""

    def __init__(self, directory: Path, blobs: Path) -> None:
        """Use `directory`, which is made when the first blob comes; whole blobs go to `blobs`."""
        self._directory = directory
        self._blobs = blobs

    def open(self, name: str, size_bytes: int) -> PartialBlob | None:
        """Hold the blob with this digest, or with a name that stands for it; None while somebody else does.

        Raises:
            StoreError: The directory cannot be written, or its disk has no room for the blob.
        """
        path = self._directory / f"{_stem(name)}.journal"
        with storage_errors(self._directory):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_room(path.with_suffix(".data"), size_bytes)
            journal = DownloadJournal.acquire(path, size_bytes)
            if journal is None:
                return None
            try:
                return PartialBlob(journal, self._blobs)
            except BaseException:
                journal.close(remove=False)
                raise

    def leftovers(self) -> list[Garbage]:
        """Return what interrupted pulls left and nobody brings now.

        Raises:
            StoreError: The directory cannot be read.
        """
        found = []
        with storage_errors(self._directory):
            for journal in sorted(self._directory.glob("*.journal")):
                data = journal.with_suffix(".data")
                with suppress(FileNotFoundError):
                    size_bytes = data.stat().st_blocks * 512
                    if not is_held(journal):
                        found.append(Garbage(data, size_bytes))
        return found

    def remove(self, leftover: Garbage) -> bool:
        """Remove one; return False when somebody brings it again, or it is gone.

        Raises:
            StoreError: It cannot be removed.
        """
        with storage_errors(self._directory):
            return remove_unless_held(leftover.path.with_suffix(".journal"), leftover.path)

    def _check_room(self, data: Path, size_bytes: int) -> None:
        free_bytes = shutil.disk_usage(self._directory).free
        with suppress(FileNotFoundError):
            free_bytes += data.stat().st_blocks * 512
        if size_bytes > free_bytes:
            raise disk_full(self._blobs, size_bytes, f"{free_bytes} are free")


def _stem(name: str) -> str:
    return name.replace(":", "-") if is_digest(name) else f"name-{hashlib.sha256(name.encode()).hexdigest()}"


def _write(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
