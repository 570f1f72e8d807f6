"""What Python packages of engines take of the disk."""

from __future__ import annotations

from pathlib import Path


def package_bytes(name: str) -> int:
    """Return the bytes of a package's files; 0 where it is not installed."""
    from importlib import metadata  # heavy

    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        return 0
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.exists())
