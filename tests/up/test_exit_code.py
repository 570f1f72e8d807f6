"""The exit code of `dmrc up` is Compose's own."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.up.compose_project import STAY, TINY, ComposeProject, question, service
from tests.up.conftest import MakeProject


def _compose(project: ComposeProject, *arguments: str) -> int:
    """Run Docker Compose itself with the override file that `dmrc up` wrote, and return its exit code."""
    command = ["docker", "compose", "-f", "compose.yaml", "-f", str(project.override), "up", *arguments]
    environment = {**os.environ, **project.engine.environment}
    return subprocess.run(command, cwd=project.directory, env=environment, capture_output=True).returncode


@pytest.mark.parametrize(
    ("script", "arguments", "code"),
    [
        (question(), (), 0),
        ("exit 7", (), 0),
        ("exit 7", ("--exit-code-from", "app"), 7),
        ("exit 7", ("--abort-on-container-failure",), 7),
        (question(), ("--exit-code-from", "app"), 0),
    ],
    ids=["well", "failure that is not asked for", "exit-code-from", "abort-on-container-failure", "well, asked for"],
)
def test_it_is_what_compose_says(project: MakeProject, script: str, arguments: tuple[str, ...], code: int) -> None:
    found = project("code")
    models = {"llm": {"model": TINY, "context_size": 256}}
    others = {"other": service(STAY)} if arguments else {}
    found.write({"services": {"app": service(script, models=["llm"]), **others}, "models": models})

    found.up("--", *arguments, code=code)

    assert _compose(found, *arguments) == code


def test_an_image_that_is_not_there_is_a_failure_of_compose(project: MakeProject) -> None:
    found = project("image")
    app = {**service(STAY, models=["llm"]), "image": "127.0.0.1:1/none"}
    found.write({"services": {"app": app}, "models": {"llm": {"model": TINY, "context_size": 256}}})

    up = found.dmrc.run("up", "--detach", cwd=found.directory)

    assert up.returncode == _compose(found, "--detach") != 0
    assert "127.0.0.1:1/none" in up.stderr
