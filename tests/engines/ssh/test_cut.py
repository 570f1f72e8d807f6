"""What is cut between two machines, and what ends there: a stream says so, and the next request heals it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from tests.engines.ssh.hosted_project import HostedProject
from tests.polling import eventually
from tests.processes import engines_of
from tests.ssh_host import SshHost

CUTS = int(os.environ.get("DMRC_TEST_CUTS", "3"))
"""How often each kind of cut is made."""


@pytest.fixture(scope="module")
def project(box: SshHost) -> HostedProject:
    """One project for all cuts, each of which must heal."""
    project = HostedProject(box)
    project.ready()
    return project


def kill_client(box: SshHost) -> None:
    for process in box.clients():
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill_session(box: SshHost) -> None:
    for process in box.sessions():
        with suppress(psutil.NoSuchProcess):  # it ends with the one before
            if process.name() == "sshd":
                process.kill()


def kill_daemon(box: SshHost) -> None:
    daemon(box).kill()


def kill_engine(box: SshHost) -> None:
    for process in engines_of(daemon(box), recursive=False):
        process.send_signal(signal.SIGKILL)


def daemon(box: SshHost) -> psutil.Process:
    return box.there.daemon()


@pytest.mark.slow("kills again and again")
@pytest.mark.parametrize(
    ("kill", "says"),
    [
        (kill_client, "the connection to host 'ssh://box' was cut"),
        (kill_session, "the connection to host 'ssh://box' was cut"),
        (kill_daemon, "the connection to host 'ssh://box' was cut"),
        (kill_engine, "it ended on host 'ssh://box'"),
    ],
)
def test_a_cut_stream_ends_with_an_error_that_names_the_host_and_the_next_request_heals(
    project: HostedProject, kill: Callable[[SshHost], None], says: str
) -> None:
    """DMRC_TEST_CUTS says how often; 3 times by default."""
    before = len(project.requests())
    for _ in range(CUTS):
        stream = project.stream()

        kill(project.box)

        events = [line for line in stream.read().decode().split("\n\n") if line]
        error = json.loads(
            events[-1].removeprefix("data: ").partition("data: ")[2] or events[-1].removeprefix("data: ")
        )
        assert says in error["error"]["message"], events[-1]
        assert not any("[DONE]" in event for event in events)
        eventually(lambda: project.ask().status == 200, "answer again")
    cut = [one for one in project.requests()[before:] if one["error_message"]]
    assert sum(says in str(one["error_message"]) for one in cut) == CUTS
    assert {one["node"] for one in cut if says in str(one["error_message"])} == {"box"}


def test_a_request_before_any_word_of_its_answer_is_sent_again(project: HostedProject) -> None:
    for _ in range(CUTS):
        kill_client(project.box)

        assert project.ask().status == 200
