"""Ends this process when its parent does, so that no engine outlives a daemon that was killed."""

from __future__ import annotations

import os
import signal
import sys
import time

PARENT_VARIABLE = "DMRC_PARENT_PID"
"""Environment variable in which a child finds the process that started it."""

_PR_SET_PDEATHSIG = 1  # Source: prctl(2)
_LOOK_SECONDS = 1.0


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Arrange for a signal at the parent's death. Call it first, while this process has one thread.

    The parent is whom `DMRC_PARENT_PID` names, so that its death before this call is noticed too.
    """
    parent = int(os.environ.get(PARENT_VARIABLE) or os.getppid())
    if sys.platform == "linux":
        import ctypes  # a child needs it, and commands, which know only what a child is given, do not

        # The signal is sent when the thread that started us ends; in the daemon that is the main one.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    else:
        watch(parent, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def watch(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Fork a process that signals this one when `parent` is gone, where the system has no signal for that.

    A process and no thread: it outlives `exec`, and does not wait for the GIL while a model loads.
    """
    watched = os.getpid()
    if os.fork() != 0:
        return
    while os.getppid() == watched:
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            os.kill(watched, number)
        time.sleep(_LOOK_SECONDS)
    os._exit(0)
