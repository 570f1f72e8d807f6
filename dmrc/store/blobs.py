"""Writing a blob: hashed on the way, and named only after its digest was checked."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from dmrc.errors import DigestMismatchError
from dmrc.files import temporary_name
from dmrc.store.files import disk_error, disk_full, keep_as, storage_errors

_COPY_BYTES = 8 << 20
# What copy_file_range answers where the file system cannot: copy(2) then does it.
_CANNOT_COPY = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EBADF)


class BlobWriter:
    """A context manager that stores one blob when its block ends, and leaves nothing behind when it fails."""

    def __init__(self, directory: Path, *, digest: str | None, size_bytes: int | None) -> None:
        """Write a blob into `directory`; its digest and size are checked where they are known."""
        self.digest = digest
        """`sha256:<64 hex>`; when it was not known before, from the end of the block on."""
        self.written = 0
        """Bytes written."""
        self._directory = directory
        self._size_bytes = size_bytes
        self._hash = hashlib.sha256()
        self._temporary = temporary_name(directory / (digest or "sha256:new")[7:19])
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Open a temporary file.

        Raises:
            StoreError: The directory cannot be written, or the disk has no room for the blob.
        """
        with storage_errors(self._directory):
            free_bytes = shutil.disk_usage(self._directory).free
            if self._size_bytes is not None and self._size_bytes > free_bytes:
                raise disk_full(self._directory, self._size_bytes, f"{free_bytes} are free")
            self._descriptor = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # tells `prune` that somebody lives who writes it
        return self

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            DigestMismatchError: It is more than the blob's size.
            StoreError: The disk is full or fails.
        """
        self._check_room(len(data))
        self._hash.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise disk_error(self._directory, error, self._size_bytes, self.written) from error
        self.written += len(data)

    def copy(self, path: Path, progress: Callable[[int], None] = lambda _written: None) -> None:
        """Make the blob a copy of a file, sharing disk blocks where possible; `progress` gets the bytes so far.

        The digest is that of the copy, whatever happens to the file meanwhile.

        Raises:
            OSError: The file cannot be read.
            StoreError: The disk is full or fails.
        """
        with path.open("rb", buffering=0) as source:
            while self._copy_range(source.fileno()):
                progress(self.written)
            source.seek(self.written)
            while data := source.read(_COPY_BYTES):
                self.write(data)
                progress(self.written)

    def _copy_range(self, source: int) -> int:
        """Copy the next part within the kernel and hash the copy; return 0 at the end, or where that cannot be done."""
        if not hasattr(os, "copy_file_range"):
            return 0
        try:
            count = os.copy_file_range(source, self._descriptor, _COPY_BYTES, offset_src=self.written)
        except OSError as error:
            if error.errno in _CANNOT_COPY:
                return 0
            raise disk_error(self._directory, error, self._size_bytes, self.written) from error
        self._hash.update(os.pread(self._descriptor, count, self.written))
        self.written += count
        return count

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Check the digest, and give the file its name.

        Raises:
            DigestMismatchError: The bytes are not those that the digest or the size names.
        """
        try:
            if error is None:
                self._finish()
        finally:
            os.close(self._descriptor)
            self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        digest = f"sha256:{self._hash.hexdigest()}"
        if self._size_bytes is not None and self.written != self._size_bytes:
            raise DigestMismatchError(
                f"blob {self.digest} should have {self._size_bytes} bytes, but {self.written} came"
            )
        if self.digest is not None and digest != self.digest:
            raise DigestMismatchError(f"blob {self.digest} came with other bytes: their digest is {digest}")
        self.digest = digest
        path = self._directory / digest.removeprefix("sha256:")
        try:
            keep_as(self._descriptor, self._temporary, path)
        except OSError as error:
            raise disk_error(self._directory, error, self._size_bytes, self.written) from error

    def _check_room(self, count: int) -> None:
        if self._size_bytes is not None and self.written + count > self._size_bytes:
            raise DigestMismatchError(f"blob {self.digest} should have {self._size_bytes} bytes, but more came")
