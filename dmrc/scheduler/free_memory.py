"""How much memory is free: what the system has, and what the control groups of this process leave of it.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files and
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_MOUNT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class _Group:
    """One control group with a memory controller: the names that its version has for the same files."""

    directory: Path
    limits: tuple[str, ...]
    usage: str
    cache: tuple[str, ...]

    def free(self) -> int | None:
        """Return the bytes that it leaves; None without a limit.

        The cache of files counts as free, as in the system's own figure: a model's weights are mapped from its file, so
        they are cache here, and what runners were promised is taken off elsewhere.
        """
        limits = [int(text) for name in self.limits if (text := _read(self.directory / name)).isdecimal()]
        usage = _read(self.directory / self.usage)
        if not limits or not usage:
            return None
        lines = _read(self.directory / "memory.stat").splitlines()
        cache = sum(int(line.split()[1]) for line in lines if line.split()[:1] and line.split()[0] in self.cache)
        return max(0, min(limits) - int(usage) + cache)


class FreeMemory:
    """Tells how much memory is free; a few small files are read each time, all of them in memory."""

    def __init__(self, mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> None:
        """Find the groups of this process and all above them; the paths are those of Linux, and nowhere else."""
        self._groups = list(_groups(mount, membership))

    def __call__(self) -> int:
        """Return the bytes that processes of ours may still take."""
        system = int(psutil.virtual_memory().available)
        return min([system, *(free for group in self._groups if (free := group.free()) is not None)])


def _groups(mount: Path, membership: Path) -> Iterator[_Group]:
    """Yield the groups from `membership`, lines of `NUMBER:CONTROLLERS:PATH`; version 2 has no controllers there.

    In a container the path may be the one that the host sees, which is not there; the container's own is then the root.
    """
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = mount / "memory" if controllers else mount
        own = root / path.strip("/")
        for directory in (own, *own.parents):
            if directory.is_dir():
                yield _group(directory, is_unified=not controllers)
            if directory == root:
                break


def _group(directory: Path, *, is_unified: bool) -> _Group:
    if is_unified:
        limits = ("memory.max", "memory.high")
        return _Group(directory, limits, "memory.current", ("inactive_file", "active_file"))
    # Version 1 writes a number near 2^63 for no limit, which is more than any system has.
    cache = ("total_inactive_file", "total_active_file")
    return _Group(directory, ("memory.limit_in_bytes",), "memory.usage_in_bytes", cache)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
