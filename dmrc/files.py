"""Writing files so that a crash leaves the old one or the new one, and nothing between."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


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
