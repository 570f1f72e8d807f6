"""The example on the real thing: `dmrc up` with Docker, Compose, the engine and a real model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dmrc.capture.database import ExchangeDatabase
from tests.cache import cache_directory
from tests.dmrc_command import Dmrc
from tests.docker_engine import DockerEngine
from tests.images import Images

_FACTS = Path(__file__).parent.parent / "examples" / "facts"
_PLUGINS = _FACTS.parent / "plugins"
_MODEL = "local/smollm2:135M-Q4_1"
_SERVICES = ("facts-node", "facts-python")
_DEMO_NEEDS = ("bash", "dirname", "mktemp", "rm", "find")


@pytest.fixture
def facts(tmp_path: Path, dmrc: Dmrc, smollm2: Path) -> Path:
    """A copy of the example, whose model is in the store."""
    directory = tmp_path / "facts"
    shutil.copytree(_FACTS, directory, ignore=shutil.ignore_patterns("node_modules"))
    dmrc.ok("package", "--gguf", smollm2, _MODEL)
    dmrc.environment["FACTS_MODEL"] = _MODEL
    dmrc.environment["TEMPERATURE"] = "0"  # so small a model says anything otherwise
    return directory


def _exchanges(dmrc: Dmrc) -> list[dict[str, object]]:
    exchanges: list[dict[str, object]] = json.loads(dmrc.ok("requests", "--json"))
    return exchanges


def _assert_is_a_sentence(text: str) -> None:
    words = [word for word in text.split() if word.strip(".,!?\"'*").isalpha()]
    assert len(words) >= 3, f"no sentence: {text!r}"


def _assert_was_measured(exchange: dict[str, object]) -> None:
    """One finished call of the example has the numbers that it must have."""
    prompt, completion = exchange["prompt_tokens"], exchange["completion_tokens"]
    first, total = exchange["first_token_ms"], exchange["total_ms"]
    assert exchange["status"] == 200
    assert exchange["operation"] == "chat"
    assert exchange["model_key"] == "llm"
    assert str(exchange["model_reference"]).endswith(_MODEL)
    assert exchange["context_tokens"] == 2048
    assert isinstance(prompt, int)
    assert 20 <= prompt <= 100
    assert isinstance(completion, int)
    assert 3 <= completion <= 80
    assert isinstance(first, float)
    assert isinstance(total, float)
    assert 0 < first <= total


@pytest.mark.engine
def test_up_gives_both_services_an_answer_and_records_one_exchange_for_each_call(
    dmrc: Dmrc, facts: Path, docker_engine: DockerEngine, images: Images
) -> None:
    dmrc.environment |= docker_engine.environment

    up = dmrc.run("up", cwd=facts, timeout=300)

    assert up.returncode == 0, up.stdout + up.stderr
    for service in _SERVICES:
        _assert_is_a_sentence(docker_engine.docker("logs", f"facts-{service}-1"))
    exchanges = sorted(_exchanges(dmrc), key=lambda exchange: str(exchange["service"]))
    assert [(exchange["project"], exchange["service"]) for exchange in exchanges] == [
        ("facts", service) for service in _SERVICES
    ]
    for exchange in exchanges:
        _assert_was_measured(exchange)

    dmrc.ok("down", cwd=facts, env=docker_engine.environment)

    assert "facts-" not in docker_engine.docker("ps", "--all")


@pytest.mark.engine
def test_exec_gives_the_program_on_the_host_an_answer_without_docker(dmrc: Dmrc, facts: Path) -> None:
    answer = dmrc.ok("exec", "facts-python", "--", sys.executable, "facts-python/facts.py", cwd=facts, timeout=300)

    _assert_is_a_sentence(answer)
    (exchange,) = _exchanges(dmrc)
    assert (exchange["project"], exchange["service"]) == ("facts", "facts-python")
    _assert_was_measured(exchange)


@pytest.mark.engine
@pytest.mark.node
def test_each_official_client_is_attributed_to_its_service_without_docker(dmrc: Dmrc, facts: Path) -> None:
    cache = f"--cache={cache_directory() / 'npm'}"
    subprocess.run(["npm", "ci", "--silent", "--prefer-offline", cache], cwd=facts / "facts-node", check=True)

    node = dmrc.ok("exec", "facts-node", "--", "node", "facts-node/facts.js", cwd=facts, timeout=300)
    python = dmrc.ok("exec", "facts-python", "--", sys.executable, "facts-python/facts.py", cwd=facts)

    _assert_is_a_sentence(node)
    _assert_is_a_sentence(python)
    exchanges = sorted(_exchanges(dmrc), key=lambda exchange: str(exchange["service"]))
    assert [(exchange["project"], exchange["service"]) for exchange in exchanges] == [
        ("facts", service) for service in _SERVICES
    ]
    agents = [str(exchange["user_agent"]).partition(" ")[0] for exchange in exchanges]
    assert agents == ["OpenAI/JS", "OpenAI/Python"]
    for exchange in exchanges:
        _assert_was_measured(exchange)


def _demo(dmrc: Dmrc, facts: Path, path: str) -> str:
    """Run the demo and return what it printed; it must have stopped what it started."""
    done = subprocess.run(
        [facts / "demo.sh"],
        env={**dmrc.environment, "PATH": f"{dmrc.program.parent}:{path}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert dmrc.processes() == []
    return done.stdout


@pytest.mark.engine
def test_demo_shows_the_answers_of_both_containers(
    dmrc: Dmrc, facts: Path, docker_engine: DockerEngine, images: Images
) -> None:
    dmrc.environment |= docker_engine.environment

    output = _demo(dmrc, facts, dmrc.environment["PATH"])

    for service in _SERVICES:
        answers = [line for line in output.splitlines() if line.startswith(f"{service}-1 ") and "|" in line]
        _assert_is_a_sentence(answers[0].partition("|")[2])
    assert "facts-" not in docker_engine.docker("ps", "--all")


@pytest.mark.engine
def test_demo_runs_the_program_on_the_host_without_docker_and_without_node(
    dmrc: Dmrc, facts: Path, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in _DEMO_NEEDS:
        (programs / name).symlink_to(shutil.which(name) or "")

    output = _demo(dmrc, facts, str(programs))

    assert "run on this host" in output
    assert "facts-node is left out" in output
    assert len(_exchanges(dmrc)) == 1


@pytest.mark.engine
def test_the_plugin_of_the_project_changes_what_one_service_asks_and_masks_what_is_recorded(
    dmrc: Dmrc, tmp_path: Path, smollm2: Path
) -> None:
    directory = tmp_path / "plugins"
    shutil.copytree(_PLUGINS, directory)
    dmrc.ok("package", "--gguf", smollm2, _MODEL)

    done = subprocess.run(
        [directory / "demo.sh"],
        env={**dmrc.environment, "PATH": f"{dmrc.program.parent}:{dmrc.environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert dmrc.processes() == []
    assert "dmrc_filter_capture, dmrc_request" in done.stderr
    assert "house_rules" in done.stdout
    plain, formal = _exchanges(dmrc)
    assert (plain["annotations"], formal["status"]) == ({}, 200)
    assert str(formal["annotations"]["system_prompt"]).startswith("Answer in one short")  # type: ignore[index]
    assert formal["annotations"]["request_changed_by"] == ["house_rules"]  # type: ignore[index]
    recorded = ExchangeDatabase(dmrc.home / "exchanges.sqlite3").get(str(formal["id"]))
    assert b"Dear customer" in recorded.request_body
    assert b"my address is [redacted]." in recorded.request_body
    for file in dmrc.home.rglob("*"):
        assert not file.is_file() or b"ada@example.com" not in file.read_bytes(), file
