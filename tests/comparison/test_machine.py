"""Whether others kept this machine busy: the processors' own counters tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dmrc.comparison.machine import ProcessorWatch
from tests.polling import eventually

_IDLE, _BUSY = "import time; time.sleep(60)", "while True: pass"


@contextmanager
def children(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose children run `program`, one on each processor."""
    one = f"{sys.executable} -c '{program}' &"
    parent = subprocess.Popen(
        ["sh", "-c", f"{one * (os.cpu_count() or 1)} wait"], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield parent
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


@pytest.mark.usefixtures("needs_process")
def test_what_others_use_is_told_and_what_the_daemon_and_its_children_use_is_not() -> None:
    with children(_BUSY) as busy, children(_IDLE) as idle:
        of_the_busy, of_the_idle = ProcessorWatch(busy.pid), ProcessorWatch(idle.pid)

        def tells_them_apart() -> bool:
            return share(of_the_idle.noise()) > share(of_the_busy.noise()) + 10

        eventually(tells_them_apart, "what others use, and not what its children do")


def share(said: str | None) -> int:
    return 0 if said is None else int(said.removeprefix("other programs used ").split("%")[0])
