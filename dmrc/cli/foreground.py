"""A program that this one runs and waits for: terminal, Ctrl+C and all other signals are the program's meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

_PASSED_ON = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_BY_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT)


def run_in_foreground(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a program without a shell, and return its exit code; 128 and the number of the signal that ended it.

    On a terminal it is of our process group, as in a shell's pipeline: Ctrl+C and Ctrl+Z reach it from there, once
    each. Elsewhere it has a group of its own, so that a signal for our group, and one for this process alone, are
    both passed on, and it gets none twice: Compose takes a second one for "at once".

    Raises:
        OSError: It cannot be started.
    """
    on_terminal = _is_in_front()
    with _signals(on_terminal) as pass_on:
        process = subprocess.Popen(argv, env=dict(environ), process_group=None if on_terminal else 0)
        pass_on.to(process, whole_group=not on_terminal)
        code = process.wait()
    return code if code >= 0 else 128 - code


class _PassOn:
    """Gives the signals of this process to a child; those that come before there is one, then."""

    def __init__(self) -> None:
        self._waiting: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._whole_group = False

    def to(self, process: subprocess.Popen[bytes], *, whole_group: bool) -> None:
        self._process, self._whole_group = process, whole_group
        for number in self._waiting:
            self(number, None)

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if self._process is None:
            self._waiting.append(number)
        elif self._whole_group:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)


@contextlib.contextmanager
def _signals(on_terminal: bool) -> Iterator[_PassOn]:
    """Pass signals on; those of the terminal's keys reach the program by themselves. What is ignored stays so."""
    pass_on = _PassOn()
    before = {number: signal.getsignal(number) for number in _PASSED_ON}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            # A function, since a child would inherit SIG_IGN.
            by_itself = on_terminal and number in _BY_THE_TERMINAL
            signal.signal(number, _leave_it if by_itself else pass_on)
    try:
        yield pass_on
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_it(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the program has it, too."""


def _is_in_front() -> bool:
    """Return whether this process is in the foreground of a terminal."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
