"""JSON of `docker model` against golden files: one that reads Docker Model Runner's finds its keys in ours.

The files are examples of Docker Model Runner's output, from its source at docker/model-runner 642c7211:
pkg/inference/models/api.go, pkg/inference/scheduling/api.go, pkg/metrics/openai_recorder.go and cmd/cli/commands.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_search import Places
from tests.dmrc_command import Dmrc
from tests.polling import eventually

GOLDEN = Path(__file__).parent / "golden"
OF_ANOTHER_TYPE = {"ps.last_used", "ps.in_use"}
"""Docker Model Runner has `ps` in JSON over HTTP only; ours is the command's: Unix seconds, and a count."""


def missing(golden: object, ours: object, where: str) -> list[str]:
    """Return where ours lacks a key of the golden file, or has a value of another type; an empty object holds any."""
    if isinstance(golden, dict) and isinstance(ours, dict):
        lacks = [f"{where}.{key} is missing" for key in golden if key not in ours]
        return lacks + [
            found for key in golden.keys() & ours for found in missing(golden[key], ours[key], f"{where}.{key}")
        ]
    if isinstance(golden, list) and isinstance(ours, list):
        assert ours, f"{where} is empty"
        return [found for each in ours for found in missing(golden[0], each, where)]
    numbers = isinstance(golden, int | float) and isinstance(ours, int | float)
    if type(golden) is type(ours) or (numbers and not isinstance(golden, bool)) or where in OF_ANOTHER_TYPE:
        return []
    return [f"{where} is {ours!r}, not like {golden!r}"]


@pytest.mark.engine
def test_every_key_of_docker_model_runner_is_there(docker_model: Dmrc, gguf: Path) -> None:
    docker_model.ok("package", "--gguf", gguf, "--context-size", "256", "ai/tiny")
    docker_model.ok("configure", "--context-size", "128", "--no-think", "ai/tiny", "--", "--temp", "0.2")
    docker_model.ok("run", "ai/tiny", "Hi")
    eventually(lambda: json.loads(docker_model.ok("requests")) != [], "record of the question")
    commands = {
        "ls": ["ls", "--json"],
        "inspect": ["inspect", "ai/tiny"],
        "ps": ["ps", "--json"],
        "df": ["df", "--json"],
        "status": ["status", "--json"],
        "requests": ["requests"],
        "configure-show": ["configure", "show"],
        "bench": ["bench", "ai/tiny", "--duration", "0", "--tokens", "4", "--prompt", "Hi", "--json"],
    }
    places = Places()
    with places.server:
        docker_model.environment["HF_ENDPOINT"] = places.url
        printed = {name: docker_model.ok(*arguments) for name, arguments in commands.items()}
        printed["search"] = docker_model.ok(
            "search", "tiny", "--json", "--source", "dockerhub", "--hub-url", places.url
        )

    for name, text in printed.items():
        assert missing(json.loads((GOLDEN / f"{name}.json").read_text()), json.loads(text), name) == []
    assert {path.stem for path in GOLDEN.iterdir()} == printed.keys()


def test_nothing_is_an_empty_array(docker_model: Dmrc) -> None:
    """Where Docker Model Runner prints `null`."""
    assert docker_model.ok("ls", "--json", "*none*") == docker_model.ok("requests") == "[]\n"
