"""Whether other programs kept the processors of this machine busy meanwhile: then times tell nothing of a model."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

_MUCH = 0.15
"""Share of all processors that others may use; on two, that is a third of one."""


@dataclass(frozen=True, slots=True)
class _Used:
    """Processor time so far, in seconds."""

    whole: float
    busy: float
    ours: float


class ProcessorWatch:
    """Counts what the daemon, its runners and this process use, beside what all use."""

    def __init__(self, daemon_pid: int) -> None:
        """Begin to count; the daemon itself gives its own."""
        self._daemon_pid = daemon_pid
        self._before = self._used()

    def noise(self) -> str | None:
        """Return in words that others used much since the beginning; None where they did not."""
        now, before = self._used(), self._before
        whole = now.whole - before.whole
        share = ((now.busy - before.busy) - (now.ours - before.ours)) / whole if whole > 0 else 0.0
        return f"other programs used {share * 100:.0f} % of the processors meanwhile" if share > _MUCH else None

    def _used(self) -> _Used:
        times = psutil.cpu_times()._asdict()
        waiting = sum(times.get(name, 0.0) for name in ("idle", "iowait"))
        # Guests are counted among the users, too.
        whole = sum(value for name, value in times.items() if name not in ("guest", "guest_nice"))
        ours = _of_tree(self._daemon_pid)
        if self._daemon_pid != os.getpid():
            ours += _of_process(psutil.Process())
        return _Used(whole, whole - waiting, ours)


def _of_tree(pid: int) -> float:
    try:
        process = psutil.Process(pid)
        return _of_process(process) + sum(map(_of_process, process.children(recursive=True)))
    except psutil.Error:
        return 0.0


def _of_process(process: psutil.Process) -> float:
    """Return what a process used, and those of its children that have ended."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return sum((times.user, times.system, getattr(times, "children_user", 0.0), getattr(times, "children_system", 0.0)))
