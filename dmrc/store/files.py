"""Writing files so that a crash leaves the old one or the new one, and nothing between."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from dmrc.errors import StoreError


def temporary_name(path: Path) -> Path:
    """Return an unused name in the directory of `path`."""
    return path.with_name(f".{path.name}-{secrets.token_hex(6)}.part")


def replace_file(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Give `path` this content, at once and for good, and this mode as far as the umask lets it."""
    temporary = temporary_name(path)
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make new and changed names in `directory` last."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_as(descriptor: int, temporary: Path, path: Path) -> None:
    """Give a file that was written its name for good, once its bytes are on the disk; nobody may change it then."""
    os.fchmod(descriptor, 0o444)
    os.fsync(descriptor)
    temporary.replace(path)
    sync_directory(path.parent)


def disk_error(directory: Path, error: OSError, size_bytes: int | None, written: int) -> StoreError:
    """Return what it means that a blob of this size could not be written further."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(directory, size_bytes, f"{written} were written")
    return StoreError(f"the model store at '{directory}' cannot be written: {error.strerror or error}")


def disk_full(directory: Path, size_bytes: int | None, detail: str) -> StoreError:
    """Return the error for a disk that has no room for a blob; `detail` says how much there was."""
    needed = f"{size_bytes} bytes are needed" if size_bytes is not None else "there is no room"
    return StoreError(
        f"the disk of the model store at '{directory}' is full: {needed}, {detail}",
        remedy="Remove a model with dmrc rm, or set DMRC_HOME to a directory on another disk",
    )


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a StoreError that names `path`."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"the model store at '{path}' cannot be used: {error.strerror or error}") from error
