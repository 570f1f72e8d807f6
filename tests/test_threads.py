"""Waiting for threads, and Ctrl+C."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WAKES_NOBODY = """
import os, signal, threading
from concurrent.futures import Future
from dmrc.threads import result_of

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore it
may_press = threading.Event()

def press():
    may_press.wait()
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=press).start()
# As where it comes while the main thread begins to wait: Python has noted it, and no wait is interrupted.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
may_press.set()
try:
    result_of(Future())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.process
def test_ctrl_c_ends_a_wait_that_it_does_not_wake() -> None:
    done = subprocess.run([sys.executable, "-c", _WAKES_NOBODY], capture_output=True, text=True, timeout=60)

    assert done.stdout == "interrupted\n", done.stderr
