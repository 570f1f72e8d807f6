"""Files of the store: how they get their names, and what it means that the disk refuses them."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from dmrc.errors import StoreError
from dmrc.files import sync_directory


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
