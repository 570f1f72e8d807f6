"""A model that is present needs no network, by whatever door it is asked for; with one, news of its tag still comes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.dmrc_command import Dmrc
from tests.docker_model.conftest import as_docker_model
from tests.registry import RegistryServer
from tests.tiny_gguf import write_tiny_llama


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def offline(dmrc: Dmrc, registry: RegistryServer, tiny: Path) -> Iterator[tuple[Dmrc, str, str]]:
    """A dmrc with a model whose registry is away, the model's name and its digest."""
    digest = registry.push_model("ai/tiny:v1", tiny)
    name = f"{registry.address}/ai/tiny:v1"
    dmrc.ok("pull", name)
    registry.stop()
    yield dmrc, name, digest


def test_a_pull_succeeds_and_says_that_nothing_was_compared(offline: tuple[Dmrc, str, str]) -> None:
    dmrc, name, digest = offline

    done = dmrc.run("pull", name)
    as_json = json.loads(dmrc.ok("pull", "--json", name))

    assert (done.returncode, done.stdout) == (0, f"{digest}\n")
    assert "Warning: model" in done.stderr
    assert f"{name} is present, and was not compared with its registry" in done.stderr
    assert as_json[0]["was_present"] is True


@pytest.mark.parametrize("form", ["{name}@{digest}", "{digest}", "{short}"])
def test_a_digest_asks_nobody(offline: tuple[Dmrc, str, str], form: str) -> None:
    dmrc, name, digest = offline
    text = form.format(name=name.removesuffix(":v1"), digest=digest, short=digest[7:19])

    done = dmrc.run("pull", text)

    assert (done.returncode, done.stdout) == (0, f"{digest}\n")
    assert "Warning" not in done.stderr


def test_the_routes_and_docker_model_succeed(offline: tuple[Dmrc, str, str], tmp_path: Path) -> None:
    dmrc, name, _ = offline
    docker_model = as_docker_model(dmrc, tmp_path / "docker")
    docker_model.ok("start-runner")
    url = f"http://127.0.0.1:{dmrc.port}"

    typed = docker_model.ok("pull", name)
    created = urllib3.request("POST", f"{url}/models/create", json={"from": name}, timeout=60)
    streamed = urllib3.request("POST", f"{url}/api/pull", json={"model": name}, timeout=60)
    whole = urllib3.request("POST", f"{url}/api/pull", json={"model": name, "stream": False}, timeout=60)

    assert typed.startswith("Using cached model: ")
    assert (created.status, streamed.status, whole.status) == (200, 200, 200)
    assert json.loads(created.data.splitlines()[-1])["message"].startswith("Using cached model: ")
    assert json.loads(streamed.data.splitlines()[-1]) == {"status": "success"}
    assert whole.json() == {"status": "success"}


def test_a_model_that_is_not_here_is_still_an_error_that_names_a_near_one(offline: tuple[Dmrc, str, str]) -> None:
    dmrc, name, _ = offline

    done = dmrc.run("pull", name.replace("tiny", "tinyy"))

    assert done.returncode == 4
    assert f"(did you mean '{name}'?)" in done.stderr


def test_with_a_network_a_tag_that_moved_is_pulled_anew(dmrc: Dmrc, registry: RegistryServer, tiny: Path) -> None:
    name = f"{registry.address}/ai/tiny:v1"
    registry.push_model("ai/tiny:v1", tiny)
    dmrc.ok("pull", name)
    moved = registry.push_model("ai/tiny:v1", tiny, config={"parameters": "1"})

    assert dmrc.ok("pull", name) == f"{moved}\n"
