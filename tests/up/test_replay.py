"""A compose project is recorded once with its models, and runs from its cassettes where there are none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import psutil
import pytest

from tests.clients.conftest import write_calls
from tests.dmrc_command import Dmrc
from tests.docker_engine import DockerEngine
from tests.images import Images
from tests.processes import engines_of
from tests.registry import RegistryServer
from tests.up.compose_project import ComposeProject

_PROJECT = Path(__file__).with_name("replay")
_FACTS_NODE = Path(__file__).parents[2] / "examples" / "facts" / "facts-node"
_ASKED = {"node": 2, "python": 6, "shell": 1}
"""How many requests each service sends."""


@pytest.fixture
def recorded(
    dmrc: Dmrc,
    docker_engine: DockerEngine,
    images: Images,
    registry: RegistryServer,
    smollm2: Path,
    tmp_path: Path,
    needs_engine: None,
) -> ComposeProject:
    """The project, recorded with the models of a registry that has ended, and these are in no store any more."""
    del images, needs_engine
    dmrc.environment |= {**docker_engine.environment, "REGISTRY": registry.address}
    registry.push_model("ai/smollm2:latest", smollm2)
    registry.push_model("ai/calls:latest", write_calls(tmp_path / "calls.gguf"))
    directory = tmp_path / "recorded"
    shutil.copytree(_PROJECT, directory)
    for file in _FACTS_NODE.glob("*.json"):
        shutil.copy(file, directory)
    project = ComposeProject(dmrc, docker_engine, directory, "recorded")
    up = project.up("--record")
    for service, number in _ASKED.items():
        assert f"cassettes/{service}.jsonl: {number} recorded (0 as before, {number} new)" in up.stderr
    (directory / "seen.json").write_text(json.dumps(_seen(project)))
    project.down()
    dmrc.ok("rm", f"{registry.address}/ai/smollm2", f"{registry.address}/ai/calls")
    registry.stop()
    dmrc.ok("stop-runner")
    return project


def _seen(project: ComposeProject) -> dict[str, str]:
    """Return what each service printed: all that its client got."""
    found = {name: project.engine.docker("logs", each.id) for name, each in project.containers().items()}
    for name, text in found.items():
        state = project.engine.docker("inspect", "--format", "{{.State.ExitCode}}", project.containers()[name].id)
        assert state.strip() == "0", f"{name}: {text}"
    return found


def _engines(dmrc: Dmrc) -> list[psutil.Process]:
    return engines_of(dmrc.daemon())


def test_three_languages_get_the_same_bytes_without_a_model(
    recorded: ComposeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    dmrc = recorded.dmrc
    before = json.loads((recorded.directory / "seen.json").read_text())

    up = recorded.up("--replay")

    assert _seen(recorded) == before
    for service, number in _ASKED.items():
        assert f"{service}: {number} answered from cassettes/{service}.jsonl\n" in up.stderr
    assert (json.loads(dmrc.ok("list", "--json")), _engines(dmrc)) == ([], [])
    assert up.stderr.count("answers from cassettes ·") == 2  # and neither pulled nor loaded

    monkeypatch.setitem(dmrc.environment, "CITY", "Rome")
    changed = recorded.up("--replay", "shell", code=1)

    said = changed.stderr[changed.stderr.index("1 request was not recorded, and refused:") :]
    assert "shell: the nearest is shell.jsonl:2, which differs in message 2 (user)" in said
    assert "city of Paris." in said
    assert "city of Rome." in said
    assert (json.loads(dmrc.ok("list", "--json")), _engines(dmrc)) == ([], [])

    beside = dmrc.run("exec", "shell", "--", "true", cwd=recorded.directory)

    assert (beside.returncode, _engines(dmrc)) == (0, []), "what was missed before is not its own"
    assert "project 'recorded' is up with --replay, and so is this" in beside.stderr
    assert len(json.loads((dmrc.home / "replays" / "recorded.json").read_text())["misses"]) == 1
    recorded.down()
