"""What `dmrc up -d` costs beyond `docker compose up -d`."""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.up.compose_project import STAY, TINY, ComposeProject, service
from tests.up.conftest import MakeProject

_PAIRS = 20
_SECONDS = 0.5
_TIMES_THE_PROCESSOR_TIME = 7.0

_COUNTS = """#!/bin/sh
echo "$@" >>'{counted}'
exec '{docker}' "$@"
"""


@dataclass(frozen=True, slots=True)
class _Cost:
    """What a command and the processes that it waited for took, in seconds."""

    seconds: float
    processor_seconds: float


def _cost(project: ComposeProject, *argv: str | Path) -> _Cost:
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, cwd=project.directory, env=project.dmrc.environment, check=True, capture_output=True)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return _Cost(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _ready(project: MakeProject, name: str) -> ComposeProject:
    found = project(name)
    services = {each: service(STAY, models=["llm"]) for each in ("one", "two")}
    found.write({"services": services, "models": {"llm": {"model": TINY, "context_size": 256}}})
    found.up("--detach")
    return found


def test_a_ready_project_is_up_shortly_after_compose(project: MakeProject) -> None:
    """The best of each counts: on a busy machine single ones tell about the machine. The goal is 0.2 s.

    Measured on two quiet cores: 0.22 s more, and 4.6 times the processor time; 0.36 s and 6.5 times while Compose was
    asked for its version twice, and read the project before anything was imported.
    """
    found = _ready(project, "ready")
    compose = ("docker", "compose", "-f", "compose.yaml", "-f", found.override, "up", "--detach")

    ours: list[_Cost] = []
    theirs: list[_Cost] = []
    while len(ours) < 3 or (_more(ours, theirs) > _SECONDS and len(ours) < _PAIRS):
        ours.append(_cost(found, found.dmrc.program, "up", "--detach"))
        theirs.append(_cost(found, *compose))

    assert _more(ours, theirs) <= _SECONDS, (ours, theirs)
    least = min(one.processor_seconds for one in theirs)
    assert min(one.processor_seconds for one in ours) <= _TIMES_THE_PROCESSOR_TIME * least, (ours, theirs)


def _more(ours: list[_Cost], theirs: list[_Cost]) -> float:
    return min((one.seconds for one in ours), default=0) - min((one.seconds for one in theirs), default=0)


def test_a_ready_project_is_read_once_and_started_once(project: MakeProject, tmp_path: Path) -> None:
    """Each call of Docker's program takes as long as Compose itself needs for a project that is up."""
    found = _ready(project, "counted")
    directory, counted = tmp_path / "bin", tmp_path / "calls"
    directory.mkdir()
    (directory / "docker").write_text(_COUNTS.format(counted=counted, docker=shutil.which("docker")))
    (directory / "docker").chmod(0o755)
    before = found.containers()

    path = f"{directory}:{found.dmrc.environment['PATH']}"
    done = found.dmrc.run("up", "--detach", env={"PATH": path}, cwd=found.directory)

    assert done.returncode == 0, done.stderr
    file = found.directory / "compose.yaml"
    assert counted.read_text().splitlines() == [
        f"compose -f {file} config",
        f"compose -f {file} -f {found.override} up --detach",
    ]
    assert found.containers() == before
