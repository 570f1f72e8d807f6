"""Becomes vLLM, all of whose processes end together: `python -m dmrc.engines.vllm.child PROGRAM ARGUMENTS…`.

vLLM's server starts an engine and workers, which hold the model and outlive a server that is killed. So a process
beside it waits for the server's end, and ends the group.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

from dmrc.engines.parent_death import die_with_parent

_PR_SET_PDEATHSIG = 1  # Source: prctl(2)
_LOOK_SECONDS = 0.2

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
    os.killpg(leader, signal.SIGKILL)


if __name__ == "__main__":
    os.umask(0o077)  # the socket is the daemon's alone
    die_with_parent()
    end_with_the_leader()
    os.environ |= ENVIRONMENT
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 the daemon's own child
