"""The stderr of the program that started this one: Compose throws ours away."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_PIDFD_GETFD = 438
"""The same number on every architecture since Linux 5.6. Source: pidfd_getfd(2)."""
_STDERR = 2


def write_to_parent(text: str) -> bool:
    """Write a line to the parent's stderr, and return whether that could be done.

    The descriptor is duplicated and not its file opened anew: a file that is opened twice has two places to write at,
    and what Compose writes next to `> log` would stand over ours. Where the kernel does not duplicate (before Linux
    5.6, or where we may not trace the parent) the file is opened at its end; and there is perhaps a terminal.
    """
    for descriptor in _candidates():
        try:
            with os.fdopen(descriptor, "a") as stderr:
                stderr.write(f"{text}\n")
        except OSError:
            continue
        return True
    return False


def give_stderr_to_parent() -> None:
    """Let all that this program says from now on go to the parent's stderr; nowhere, where that cannot be had."""
    descriptor = next(_candidates(), None)
    if descriptor is None:
        descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, _STDERR)
    os.close(descriptor)


def _candidates() -> Iterator[int]:
    """Yield descriptors to try, the best first; whoever takes one closes it."""
    with contextlib.suppress(OSError):
        yield _duplicated(os.getppid())
    for path in (f"/proc/{os.getppid()}/fd/{_STDERR}", "/dev/tty"):
        with contextlib.suppress(OSError):
            yield os.open(path, os.O_WRONLY | os.O_APPEND)


def _duplicated(pid: int) -> int:
    """Return a descriptor of ours for the stderr of a process.

    Raises:
        OSError: The kernel cannot, or does not let us.
    """
    if not hasattr(os, "pidfd_open"):
        raise OSError("this is not Linux")
    process = os.pidfd_open(pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        found = int(libc.syscall(_PIDFD_GETFD, process, _STDERR, 0))
    finally:
        os.close(process)
    if found < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return found
