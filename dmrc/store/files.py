"""Writing files so that a crash leaves the old one or the new one, and nothing between."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from dmrc.errors import StoreError


def temporary_name(path: Path) -> Path:
    """Return an unused name in the directory of `path`."""
    return path.with_name(f".{path.name}-{secrets.token_hex(6)}.part")


def replace_file(path: Path, data: bytes) -> None:
    """Give `path` this content, at once and for good."""
    temporary = temporary_name(path)
    try:
        with temporary.open("xb") as stream:
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


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a StoreError that names `path`."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"the model store at '{path}' cannot be used: {error.strerror or error}") from error
