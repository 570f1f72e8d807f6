"""What processes cost: processor time, and instructions where `perf` counts them."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from tests.processes import command_of

_ENGINES = ("tests.synthetic_", "llama-server", "xllamacpp", "dmrc.engines.")
_QUIET_SECONDS = 0.6
_QUIET_SHARE = 0.02
_LONGEST_SECONDS = 15
_EVENT = "instructions:u"


@dataclass
class Used:
    """What was used in a block; whole only after its end."""

    seconds: float = 0.0
    """Processor time, in user and in system mode."""
    instructions: int | None = None
    """Instructions in user mode; None where nothing counts them."""


@contextmanager
def used(pid: int) -> Iterator[Used]:
    """Count what a process and its children use in the block, and until they rest after it. Engines are left out."""
    found = Used()
    before = {one: seconds_of(one) for one in family(pid)}
    with _counted(list(before), found):
        yield found
        _wait_until_quiet(pid)
    found.seconds = sum(seconds_of(one) - before.get(one, 0.0) for one in family(pid))


def family(pid: int) -> list[int]:
    """Return the processes of a gateway: its own and its children's, but no engine and nothing that one started."""
    found = []
    waiting = [psutil.Process(pid)]
    while waiting:
        process = waiting.pop()
        with suppress(psutil.NoSuchProcess):
            found.append(process.pid)
            waiting += [child for child in process.children() if not is_engine(child)]
    return found


def is_engine(process: psutil.Process) -> bool:
    """Return whether it is what a gateway passes requests to."""
    command = command_of(process)
    return any(name in command for name in _ENGINES)


def seconds_of(pid: int) -> float:
    """Return the processor time of a process, of threads that have ended too, to the nanosecond.

    Source: the clock's number is made as glibc's clock_getcpuclockid makes it; utime and stime count in 10 ms.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _wait_until_quiet(pid: int) -> None:
    """Wait until what has to be done after the last answer, a record that is written, is done."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        before = sum(map(seconds_of, family(pid)))
        time.sleep(_QUIET_SECONDS)
        if sum(map(seconds_of, family(pid))) - before < _QUIET_SHARE * _QUIET_SECONDS:
            return


def counts_instructions() -> bool:
    """Return whether `perf` is here, and this machine lets it count."""
    try:
        done = subprocess.run(_perf("true"), capture_output=True, text=True, check=False)
    except OSError:
        return False
    return _count(done.stderr) is not None


@contextmanager
def _counted(pids: Sequence[int], found: Used) -> Iterator[None]:
    if not counts_instructions():
        yield
        return
    argv = _perf("--pid", ",".join(map(str, pids)))
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as perf:
        try:
            yield
        finally:
            perf.send_signal(signal.SIGINT)
            found.instructions = _count(perf.communicate()[1])


def _perf(*arguments: str) -> list[str]:
    return ["perf", "stat", "--field-separator", ",", "--event", _EVENT, *arguments]


def _count(told: str) -> int | None:
    """Read what `perf stat` says: `123456,,instructions:u,…`, or `<not supported>,,instructions:u,…`."""
    for line in told.splitlines():
        count, _, event, *_ = [*line.split(","), "", ""]
        if event == _EVENT and count.isdigit():
            return int(count)
    return None
