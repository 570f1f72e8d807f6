"""OpenAI's official client of npm against the real model: its main calls, streams, refusals, a stream that is cut."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cache import cache_directory
from tests.dmrc_command import Dmrc
from tests.gateway.conftest import MODEL, Gateway
from tests.gateway.test_faults import children
from tests.gateway.thinking import thinking_dmrc

pytestmark = pytest.mark.engine

_FACTS = Path(__file__).parents[2] / "examples" / "facts" / "facts-node"
_SCRIPT = Path(__file__).with_name("node_client.mjs")
_WHOLE = ("chat", "completion", "response")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory, needs_node: None) -> Path:
    """The script, beside the client in the version that the example locks."""
    directory = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_FACTS / name, directory)
    cache = f"--cache={cache_directory() / 'npm'}"
    subprocess.run(["npm", "ci", "--silent", "--prefer-offline", cache], cwd=directory, check=True)
    return Path(shutil.copy(_SCRIPT, directory))


def start(gateway: Gateway, script: Path, *calls: str) -> subprocess.Popen[str]:
    return start_at(gateway.dmrc, gateway.keys["web"], MODEL, script, *calls)


def start_at(dmrc: Dmrc, key: str, model: str, script: Path, *calls: str) -> subprocess.Popen[str]:
    url = f"http://127.0.0.1:{dmrc.port}/engines/v1"
    environment = {**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": key, "OPENAI_MODEL": model}
    pipe = subprocess.PIPE
    return subprocess.Popen(["node", script, *calls], env=environment, stdout=pipe, stderr=pipe, text=True)


def outcome_of(process: subprocess.Popen[str]) -> dict[str, dict[str, object]]:
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    outcome: dict[str, dict[str, object]] = json.loads(stdout)
    return outcome


def run(gateway: Gateway, script: Path, *calls: str) -> dict[str, dict[str, object]]:
    return outcome_of(start(gateway, script, *calls))


def test_each_call_is_answered_whole_and_streamed(gateway: Gateway, script: Path) -> None:
    found = run(gateway, script, *_WHOLE, *(f"{name}Stream" for name in _WHOLE), "embedding", "structured", "models")

    for name in _WHOLE:
        for outcome in (found[name], found[f"{name}Stream"]):
            assert outcome["text"]
            assert outcome["tokens"] == 8
    assert found["embedding"]["lengths"] == [576, 576]
    assert isinstance(found["structured"]["animal"], str)
    assert set(found["models"]) == {MODEL, "local/embedder"}


def test_tools_are_called_whole_and_streamed(tmp_path: Path, script: Path) -> None:
    with thinking_dmrc(tmp_path) as dmrc:
        calls = ("tool", "toolStream", "responseHelper", "responseTokens")
        found = outcome_of(start_at(dmrc, "none", "local/calls", script, *calls))

    for outcome in (found["tool"], found["toolStream"], found["responseHelper"]):
        assert (outcome["name"], outcome["arguments"]) == ("get_weather", {"city": "Bern"})
    assert found["tool"]["next"] == 1
    assert found["responseHelper"]["seen"] > 3
    assert found["responseHelper"]["next"] > 0
    assert found["responseTokens"] > 3


def test_refusals_are_the_clients_own_errors(gateway: Gateway, script: Path) -> None:
    found = run(gateway, script, "unknownModel", "badRequest", "badStream", "badKey", "cancelled")

    kinds = {name: (outcome["name"], outcome["status"]) for name, outcome in found.items() if name != "cancelled"}
    assert kinds == {
        "unknownModel": ("NotFoundError", 404),
        "badRequest": ("BadRequestError", 400),
        "badStream": ("BadRequestError", 400),
        "badKey": ("AuthenticationError", 401),
    }
    assert "made/up" in str(found["unknownModel"]["message"])
    assert found["cancelled"] is True


def test_a_stream_that_is_cut_is_an_error_and_no_end(gateway: Gateway, script: Path) -> None:
    process = start(gateway, script, "cut")
    assert process.stderr is not None
    assert process.stderr.readline() == "it streams\n"
    for child in children(gateway):
        os.kill(child.pid, signal.SIGKILL)

    stdout, stderr = process.communicate(timeout=60)

    outcome = json.loads(stdout)["cut"]
    assert outcome is not None, stderr
    assert "engine" in outcome["message"]
