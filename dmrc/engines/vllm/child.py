"""Becomes vLLM, all of whose processes end together: `python -m dmrc.engines.vllm.child PROGRAM ARGUMENTS…`.

vLLM's server starts an engine and workers, which hold the model and outlive a server that is killed. So a process
beside it waits for the server's end, and ends the group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator

import psutil

from dmrc.engines.parent_death import die_with_parent

_PR_SET_PDEATHSIG = 1  # Source: prctl(2)
_LOOK_SECONDS = 0.2
_CLEANING_SECONDS = 3.0
_CLEANER = "multiprocessing.resource_tracker"

ENVIRONMENT = {
    # It neither looks for newer files of a model nor reports that it is used.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # What its processes say to each other stays on this machine.
    "VLLM_HOST_IP": "127.0.0.1",
}
"""What vLLM is told beside what the user's environment says."""


def end_with_the_leader() -> None:
    """Fork a process that kills its process group when this one, the group's leader, has ended."""
    leader = os.getpid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    if os.fork() != 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1})
        return
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)  # who reads the log waits for its end
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
        if os.getppid() == leader:
            signal.sigwait({signal.SIGUSR1})
    while os.getppid() == leader:
        time.sleep(_LOOK_SECONDS)
    _end_group(leader)


def _end_group(leader: int) -> None:
    """Kill all of a process group, at last this process too.

    Those that Python starts to remove shared memory once its users are gone get a moment to do so: what is in /dev/shm
    would stay there.
    Source: https://github.com/python/cpython/blob/main/Lib/multiprocessing/resource_tracker.py
    """
    deadline = time.monotonic() + _CLEANING_SECONDS
    while (left := list(_others(leader))) and time.monotonic() < deadline:
        for process, is_cleaner in left:
            if not is_cleaner:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        time.sleep(_LOOK_SECONDS / 4)
    os.killpg(leader, signal.SIGKILL)


def _others(leader: int) -> Iterator[tuple[psutil.Process, bool]]:
    """Yield the processes of a group that live, but for this one, each with whether it removes shared memory."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            is_other = os.getpgid(process.pid) == leader and process.pid != os.getpid()
            if is_other and process.status() != psutil.STATUS_ZOMBIE:
                yield process, any(_CLEANER in word for word in process.cmdline())


if __name__ == "__main__":
    os.umask(0o077)  # the socket is the daemon's alone
    die_with_parent()
    end_with_the_leader()
    os.environ |= ENVIRONMENT
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 the daemon's own child
