"""What `dmrc up -d` costs beyond `docker compose up -d`."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

from tests.up.compose_project import STAY, TINY, ComposeProject, service
from tests.up.conftest import MakeProject

_PAIRS = 20
_SECONDS = 1.0

_COUNTS = """#!/bin/sh
echo "$@" >>'{calls}'
exec '{docker}' "$@"
"""
_HEAVY = {
    *("asyncio", "docker", "fastapi", "filelock", "huggingface_hub", "jinja2", "prompt_toolkit"),
    *("psutil", "requests", "rich", "tarfile", "urllib3", "uvicorn", "xllamacpp"),
}
"""What a project that is ready has no use for."""


def _ready(project: MakeProject, name: str) -> ComposeProject:
    found = project(name)
    services = {each: service(STAY, models=["llm"]) for each in ("one", "two")}
    found.write({"services": services, "models": {"llm": {"model": TINY, "context_size": 256}}})
    found.up("--detach")
    return found


def _seconds(project: ComposeProject, *argv: str | Path) -> float:
    began = time.monotonic()
    subprocess.run(argv, cwd=project.directory, env=project.dmrc.environment, check=True, capture_output=True)
    return time.monotonic() - began


def test_a_ready_project_is_up_within_a_second_of_compose(project: MakeProject) -> None:
    """The best of each counts: on a busy machine single ones tell about the machine.

    Measured on two quiet cores: 0.2 s, and 0.36 s while Compose was asked for its version twice, and had read the
    project before anything was imported.
    """
    found = _ready(project, "ready")
    compose = ("docker", "compose", "-f", "compose.yaml", "-f", found.override, "up", "--detach")

    ours: list[float] = []
    theirs: list[float] = []
    while not ours or (min(ours) - min(theirs) > _SECONDS and len(ours) < _PAIRS):
        ours.append(_seconds(found, found.dmrc.program, "up", "--detach"))
        theirs.append(_seconds(found, *compose))

    assert min(ours) - min(theirs) <= _SECONDS, (ours, theirs)


def test_a_ready_project_is_read_once_and_started_once(project: MakeProject, tmp_path: Path) -> None:
    """Each call of Docker's program takes as long as Compose itself needs for a project that is up."""
    found = _ready(project, "counted")
    directory, calls = tmp_path / "bin", tmp_path / "calls"
    directory.mkdir()
    (directory / "docker").write_text(_COUNTS.format(calls=calls, docker=shutil.which("docker")))
    (directory / "docker").chmod(0o755)
    before = found.containers()
    path = f"{directory}:{found.dmrc.environment['PATH']}"

    done = found.dmrc.run("up", "--detach", env={"PATH": path}, cwd=found.directory)

    assert done.returncode == 0, done.stderr
    file = found.directory / "compose.yaml"
    assert calls.read_text().splitlines() == [
        f"compose -f {file} config",
        f"compose -f {file} -f {found.override} up --detach",
    ]
    assert found.containers() == before


def test_for_a_ready_project_nothing_heavy_is_imported(project: MakeProject) -> None:
    """Imports are most of what `dmrc up` adds; each of these modules takes 5 to 20 ms."""
    found = _ready(project, "light")

    done = found.dmrc.run(
        "up", "--detach", env={"PYTHONPROFILEIMPORTTIME": "1", "DMRC_PLUGINS": ""}, cwd=found.directory
    )

    imported = set(re.findall(r"^import time: .*\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "dmrc.cli.projects.setup.prepare" in imported
    assert imported & _HEAVY == set()
