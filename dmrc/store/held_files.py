"""Files that say by their lock that a process works: the kernel ends the lock with the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def lock(path: Path, flags: int) -> int | None:
    """Open a file and return a descriptor with its lock, or None while another process or thread has it.

    Raises:
        OSError: It cannot be opened.
    """
    while True:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        if os.fstat(descriptor).st_nlink:
            return descriptor
        # Who had it before removed the file after we had opened it.
        os.close(descriptor)


def remove_unless_held(path: Path, data: Path | None = None) -> bool:
    """Remove a file that nobody holds, and the data beside it; return False where somebody does, or nothing is there.

    Raises:
        OSError: They cannot be removed.
    """
    try:
        descriptor = lock(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    if descriptor is None:
        return False
    try:
        if data is not None:
            data.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
    return True


def is_held(path: Path) -> bool:
    """Return whether a process that lives holds the file."""
    try:
        descriptor = lock(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None
