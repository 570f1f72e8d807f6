"""Which process is meant, told from a later one that has its number."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def process_of(pid: int) -> tuple[int, float] | None:
    """Return a running process and when it began, in seconds since 1970; None where it has ended."""
    try:
        return pid, _began(pid)
    except ProcessLookupError:
        return None


if sys.platform == "linux":

    def _began(pid: int) -> float:
        """Return what psutil would say, which is not asked: `dmrc up` would wait 6 ms for its import, for this alone.

        Source: proc(5): `starttime` of /proc/pid/stat is in ticks since the machine started, `btime` of /proc/stat.
        """
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except FileNotFoundError as error:
            raise ProcessLookupError from error
        lines = Path("/proc/stat").read_bytes().splitlines()
        started = next(float(line.split()[1]) for line in lines if line.startswith(b"btime "))
        return int(fields[19]) / os.sysconf("SC_CLK_TCK") + started

else:

    def _began(pid: int) -> float:
        import psutil

        try:
            return float(psutil.Process(pid).create_time())
        except psutil.Error as error:
            raise ProcessLookupError from error
