"""The daemon killed with SIGKILL under a project that is up."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from tests.polling import eventually
from tests.processes import engines_of, has_ended
from tests.up.compose_project import TINY, ComposeProject, ask, question, service
from tests.up.conftest import MakeProject


@pytest.fixture
def looping(project: MakeProject) -> Iterator[ComposeProject]:
    """A project whose container asks again and again, and does not mind an error."""
    found = project("looping")
    app = service(f"while :; do {question()}; /busybox sleep 0.1; done", models=["llm"])
    found.write({"services": {"app": app}, "models": {"llm": {"model": TINY, "context_size": 256}}})
    found.up("--detach")
    found.answers("app")
    yield found


def _kill_daemon(project: ComposeProject) -> None:
    """Kill the daemon alone; nothing of it may stay."""
    pid = json.loads(project.dmrc.ok("status", "--json"))["pid"]
    engines = engines_of(psutil.Process(pid))
    assert engines
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(has_ended(engine.pid) for engine in engines), "end of the engine children")
    eventually(lambda: project.dmrc.processes() == [], "end of all that it started")


def _answered_after(project: ComposeProject, moment: float) -> bool:
    return any(float(str(each["received_at"])) > moment and each["status"] == 200 for each in project.exchanges("app"))


@pytest.mark.parametrize(
    "command", [("up", "--detach"), ("run", TINY, "Hi"), ("env", "app")], ids=lambda words: words[0]
)
def test_the_next_command_starts_it_again_and_containers_go_on(looping: ComposeProject, command: tuple[str]) -> None:
    containers, keys = looping.containers(), looping.keys
    _kill_daemon(looping)

    looping.dmrc.ok(*command, cwd=looping.directory)

    started = json.loads(looping.dmrc.ok("status", "--json"))["started_at"]
    eventually(lambda: _answered_after(looping, started), "answer for the container")
    assert looping.containers() == containers
    assert looping.is_running("app")
    assert looping.keys == keys
    assert ask(f"http://127.0.0.1:{looping.dmrc.port}", keys["app"])[0] == 200
    assert ask(f"http://{looping.engine.bridge.ip}:{looping.dmrc.port}", keys["app"])[0] == 200
