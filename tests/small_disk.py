"""A small disk, and what fills it: for what happens when there is no room at the wrong moment."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def small_disk(path: Path, size_bytes: int = 1 << 20) -> Iterator[Path]:
    """Mount a disk of so many bytes at `path`; the test belongs to the group `tmpfs`."""
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)  # a test that failed may have left a file open


def fill(disk: Path) -> Path:
    """Take what is left of the disk, and return the file that has it."""
    path = disk / "filler"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for piece in (1 << 20, 4096):
            with contextlib.suppress(OSError):  # no space left
                while os.write(descriptor, bytes(piece)):
                    pass
    finally:
        os.close(descriptor)
    return path
