"""Processes told from later ones with their numbers."""

import os
import subprocess
import sys

import psutil
import pytest

from dmrc.projects import process_of


def test_a_process_began_when_psutil_says_so() -> None:
    assert process_of(os.getpid()) == (os.getpid(), psutil.Process().create_time())


@pytest.mark.process
def test_one_that_has_ended_is_none() -> None:
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    while_it_runs = process_of(ended.pid)
    ended.communicate(b"\n")

    assert while_it_runs is not None
    assert process_of(ended.pid) is None
