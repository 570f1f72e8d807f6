"""The lock that makes the daemon one per home. It also tells whether a daemon lives, which no silent socket can.

The system lets go of it when the process that holds it ends, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from dmrc.errors import DaemonRunningError

# Whoever only looks holds the lock for a moment, too.
_PATIENCE_SECONDS = 0.5
_LOOK_SECONDS = 0.01


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock, and name this process in its file.

    Raises:
        DaemonRunningError: Another process holds it.
        OSError: The file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, path)
        with contextlib.suppress(OSError):  # a full disk keeps nobody from the lock, and the number is for messages
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def holder(path: Path) -> int | None:
    """Return the ID of the process that holds the lock: 0 where it is not known, None where nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 20, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)
    return None


def _take(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise DaemonRunningError(
                    f"a daemon serves '{path.parent}' already", remedy="See: dmrc status; end it with: dmrc stop-runner"
                ) from error
        time.sleep(_LOOK_SECONDS)
