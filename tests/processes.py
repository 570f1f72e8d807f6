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


def engines_of(daemon: psutil.Process, *, recursive: bool = True) -> list[psutil.Process]:
    """Return the children of a daemon that serve models, and theirs: all but its recorder and its stream processes."""
    return [one for one in daemon.children(recursive=recursive) if not (_is_recorder(one) or _carries_streams(one))]


def recorder_of(daemon: psutil.Process) -> psutil.Process | None:
    """Return the process that writes what a daemon, or this process, records; None where there is none."""
    return next(filter(_is_recorder, daemon.children()), None)


def stream_processes_of(daemon: psutil.Process) -> list[psutil.Process]:
    """Return the processes that carry a daemon's running streams."""
    return [child for child in daemon.children() if _carries_streams(child)]


def _carries_streams(process: psutil.Process) -> bool:
    return "dmrc.gateway.streams.process" in command_of(process)


def _is_recorder(process: psutil.Process) -> bool:
    return "dmrc.capture.recorder_process" in command_of(process)
