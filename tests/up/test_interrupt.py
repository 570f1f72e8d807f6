"""Ctrl+C in each phase of `dmrc up`: while it pulls, while it loads, while the containers run."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dmrc.projects import Projects
from tests.polling import eventually
from tests.registry import RegistryServer
from tests.sources.counting_proxy import counting_proxy
from tests.up.compose_project import STAY, TINY, ComposeProject, question, runners, service
from tests.up.conftest import MakeProject
from tests.up.foreground import Foreground, foreground

_BEFORE_THE_WEIGHTS = 64 << 10
"""Manifest and config are smaller than this, so that what comes after it is of the weights."""

_on_a_terminal = pytest.mark.parametrize("has_terminal", [True, False], ids=["terminal", "no terminal"])


def _assert_nothing_is_left(project: ComposeProject) -> None:
    """No process, no container, no key, no registration, no partial file."""
    eventually(lambda: not project.dmrc.processes(), "end of what was started")
    assert project.containers() == {}
    assert not project.override.exists()
    projects = Projects(project.dmrc.home / "projects.sqlite3")
    assert projects.all() == []
    projects.close()
    for path in (project.dmrc.home / "store" / "blobs" / "sha256").iterdir():
        assert path.name == hashlib.sha256(path.read_bytes()).hexdigest()


def _assert_one_line(up: Foreground, has_terminal: bool) -> None:
    """One line says what happened; on a terminal it follows the bars and the `^C`."""
    lines = up.text.splitlines()
    assert lines[-1:] == ["dmrc: interrupted"]
    # Elsewhere than on a terminal a line says after 3 s that something takes its time.
    assert has_terminal or all(re.search(r"^loading .* …$| MB/s(, .* left)?$", line) for line in lines[:-1])


def _up(project: ComposeProject, has_terminal: bool, *options: str) -> AbstractContextManager[Foreground]:
    dmrc = project.dmrc
    return foreground([dmrc.program, "up", *options], dmrc.environment, project.directory, has_terminal=has_terminal)


def _compose_up(project: ComposeProject, has_terminal: bool) -> AbstractContextManager[Foreground]:
    """Run Docker Compose itself, with the override file that `dmrc up` wrote."""
    argv = ["docker", "compose", "-f", "compose.yaml", "-f", str(project.override), "up"]
    return foreground(argv, project.dmrc.environment, project.directory, has_terminal=has_terminal)


def _write(project: ComposeProject, model: str = TINY) -> None:
    models = {"llm": {"model": model, "context_size": 256}}
    project.write({"services": {"app": service(f"{question()}; {STAY}", models=["llm"])}, "models": models})


@_on_a_terminal
def test_during_a_pull(own_project: MakeProject, registry: RegistryServer, smollm2: Path, has_terminal: bool) -> None:
    found = own_project("pulling")
    registry.push_model("ai/large:latest", smollm2)
    with counting_proxy(registry.address) as proxy:
        proxy.bytes_per_second = 20_000
        _write(found, f"{proxy.address}/ai/large")
        with _up(found, has_terminal) as up:
            eventually(lambda: proxy.sent_bytes > _BEFORE_THE_WEIGHTS, "slow pull")

            code = up.interrupt()

    assert code == 130
    _assert_one_line(up, has_terminal)
    _assert_nothing_is_left(found)
    assert [model["tags"] for model in json.loads(found.dmrc.ok("list", "--json"))] == [[f"docker.io/{TINY}:latest"]]


@_on_a_terminal
def test_during_a_load(own_project: MakeProject, tmp_path: Path, has_terminal: bool) -> None:
    found = own_project("loading")
    started, server = tmp_path / "started", tmp_path / "llama-server"
    server.write_text(f"#!/bin/sh\n: > {started}\nexec sleep 600\n")
    server.chmod(0o755)
    found.dmrc.environment["DMRC_LLAMA_SERVER"] = str(server)
    _write(found)
    with _up(found, has_terminal) as up:
        eventually(started.exists, "start of the engine")

        code = up.interrupt()

    assert code == 130
    _assert_one_line(up, has_terminal)
    _assert_nothing_is_left(found)


@_on_a_terminal
def test_while_the_containers_run(own_project: MakeProject, has_terminal: bool) -> None:
    """The exit code is Compose's own; v5.6.1 gives 0 on a terminal and 130 without one."""
    found = own_project("running")
    _write(found)
    with _up(found, has_terminal) as up:
        found.answers("app")
        daemon, before = json.loads(found.dmrc.ok("status", "--json")), runners(found.dmrc)

        code = up.interrupt()

    assert not found.is_running("app")
    assert json.loads(found.dmrc.ok("status", "--json"))["pid"] == daemon["pid"]
    assert runners(found.dmrc) == before != {}
    assert found.ask("app")[0] == 200
    with _compose_up(found, has_terminal) as compose:
        eventually(lambda: found.is_running("app"), "container")
        assert compose.interrupt() == code


@_on_a_terminal
def test_a_recording_ends_as_compose_does_and_says_what_it_has(own_project: MakeProject, has_terminal: bool) -> None:
    """There Compose is a child: it gets the signal once, ends its containers, and the code is its own."""
    found = own_project("recording")
    _write(found)
    with _up(found, has_terminal, "--record") as up:
        found.answers("app")

        code = up.interrupt()

    assert code == (0 if has_terminal else 130)
    assert not found.is_running("app")
    # Compose ends its colours where its output ends.
    assert up.text.splitlines()[-1].endswith("cassettes/app.jsonl: 1 recorded (0 as before, 1 new)")
    assert len((found.directory / "cassettes" / "app.jsonl").read_text().splitlines()) == 2


def test_dmrc_down_ends_a_recording_too(own_project: MakeProject) -> None:
    """The containers are made, so nothing waits for the lock of the project; the report outlives the project."""
    found = own_project("recorded")
    _write(found)
    with _up(found, False, "--record") as up:
        found.answers("app")

        found.down()

        eventually(lambda: "cassettes/app.jsonl: 1 recorded" in up.text, "report")
