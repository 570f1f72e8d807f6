"""Writing files so that a crash leaves the old one or the new one, and nothing between."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def temporary_name(path: Path) -> Path:
    """Return an unused name in the directory of `path`."""
    return path.with_name(f".{path.name}-{secrets.token_hex(6)}.part")


def replace_file(path: Path, data: bytes, mode: int = 0o666, *, past_umask: bool = False) -> None:
    """Give `path` this content, at once and for good, and this mode as far as the umask lets it, or `past_umask`."""
    temporary = temporary_name(path)
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as stream:
            if past_umask:
                os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def make_as_its_parent(directory: Path) -> None:
    """Make a directory and what is missing above it, open to those to whom the one above is; the umask says nothing.

    For what a daemon, which keeps all else to itself, writes into the directory of a person.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        path.chmod(path.parent.stat().st_mode & 0o775 | path.stat().st_mode & 0o2000)


def mode_in(path: Path) -> int:
    """Return the mode of a file: its own where it is there, else what its directory says of who may read and write."""
    if path.exists():
        return path.stat().st_mode & 0o777
    return path.parent.stat().st_mode & 0o664 | 0o600


def sync_directory(directory: Path) -> None:
    """Make new and changed names in `directory` last."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
