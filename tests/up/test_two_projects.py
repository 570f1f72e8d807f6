"""Two projects up at the same time, and whose key opens what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc
from tests.docker_engine import DockerEngine
from tests.polling import eventually
from tests.up.compose_project import STAY, TINY, ComposeProject, ask, question, runners, service

_OTHER = "local/other"
_LONG = "a " * 300


@pytest.fixture(scope="module")
def two(
    shared_dmrc: Dmrc, docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory, tiny: Path
) -> Iterator[tuple[ComposeProject, ComposeProject]]:
    """Projects that declare the same model, one with a small context and one with a large one, both up."""
    shared_dmrc.ok("package", "--gguf", tiny, "--context-size", "512", _OTHER)
    directory = tmp_path_factory.mktemp("two")
    projects = []
    for name, context_size in (("small", 256), ("large", 1024)):
        project = ComposeProject(shared_dmrc, docker_engine, directory / name, name)
        project.write(
            {
                "services": {
                    "app": service(f"{question()}; {STAY}", models=["llm"]),
                    "back": service(STAY, models=["other"]),
                },
                "models": {
                    "llm": {"model": TINY, "context_size": context_size, "x-dmrc": {"parallel": 1}},
                    "other": {"model": _OTHER, "x-dmrc": {"ready": "pulled"}},
                },
            }
        )
        project.up("--detach")
        projects.append(project)
    small, large = projects
    yield small, large
    for project in projects:
        project.down()


def test_each_service_gets_the_runner_of_its_own_project(two: tuple[ComposeProject, ComposeProject]) -> None:
    small, large = two

    refused, error = small.ask("app", prompt=_LONG)
    answered, _ = large.ask("app", prompt=_LONG)

    assert (refused, error["error"]["type"]) == (400, "exceed_context_size_error")
    assert answered == 200
    assert small.answers("app")["app"]["context_tokens"] == 256
    assert large.answers("app")["app"]["context_tokens"] == 1024


def test_ps_shows_the_runners_of_both(two: tuple[ComposeProject, ComposeProject]) -> None:
    dmrc = two[0].dmrc

    rows = [line.split() for line in dmrc.ok("ps").splitlines()]

    context = rows[0].index("CONTEXT")
    assert {row[context] for row in rows[1:] if row[0] == TINY} >= {"256", "1024"}
    assert set(runners(dmrc).values()) >= {256, 1024}


def test_a_key_opens_the_models_of_its_service_alone(two: tuple[ComposeProject, ComposeProject]) -> None:
    small, _ = two

    status, document = small.ask("app", model=_OTHER)

    assert status == 403
    assert "service 'app' of project 'small' may not use model 'local/other'" in document["error"]["message"]
    assert f"It declares '{TINY}'" in document["error"]["message"]


def test_the_bridge_wants_a_key_and_loopback_does_not(two: tuple[ComposeProject, ComposeProject]) -> None:
    small, _ = two
    bridge, port = small.engine.bridge.ip, small.dmrc.port

    assert ask(f"http://{bridge}:{port}")[0] == 401
    assert ask(f"http://{bridge}:{port}", "not-required")[0] == 401
    assert ask(f"http://{bridge}:{port}", "sk-dmrc-made-up")[0] == 401
    assert ask(f"http://{bridge}:{port}", small.keys["app"])[0] == 200
    assert ask(f"http://127.0.0.1:{port}")[0] == 200
    assert ask(f"http://127.0.0.1:{port}", "not-required")[0] == 200
    assert ask(f"http://127.0.0.1:{port}", "sk-dmrc-made-up")[0] == 401


@pytest.mark.parametrize("is_running", [True, False], ids=["daemon runs", "daemon stopped"])
def test_down_ends_the_keys_of_one_project_and_leaves_the_other_one_alone(
    two: tuple[ComposeProject, ComposeProject], is_running: bool
) -> None:
    small, large = two
    small.up("--detach")
    large.up("--detach")
    ended, containers, before = small.keys["app"], large.containers(), runners(large.dmrc)
    own = {key for key, context_size in before.items() if context_size == 1024}
    if not is_running:
        small.dmrc.ok("stop-runner")

    small.down()

    large.up("--detach")
    assert ask(f"http://127.0.0.1:{large.dmrc.port}", ended)[0] == 401
    assert small.containers() == {}
    assert not small.override.parent.exists()
    assert large.containers() == containers
    assert large.ask("app", prompt=_LONG)[0] == 200
    assert json.loads(large.dmrc.ok("status", "--json"))["projects"] == ["large"]
    eventually(lambda: 256 not in runners(large.dmrc).values(), "end of the runner of the other project")
    assert own
    assert runners(large.dmrc).keys() >= own
