"""Processes that may end while a test looks at them."""

from __future__ import annotations

import psutil


def has_ended(pid: int) -> bool:
    """Whether it runs no more; of a zombie its parent has only not heard yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def command_of(process: psutil.Process) -> str:
    """Return its command line; nothing of one that has ended, or that nobody may look at."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""
