import json
from pathlib import Path

import pytest

from tests.cli.refusals import write_program
from tests.dmrc_command import Dmrc
from tests.polling import eventually

_APPS = ["aider", "claude", "codex", "opencode"]


@pytest.mark.parametrize("app", _APPS)
def test_a_program_is_told_the_gateway_and_the_model(dmrc: Dmrc, app: str) -> None:
    told = json.loads(dmrc.ok("launch", app, "--model", "ai/coder", "--json", "--", "--its-own"))

    assert told["command"][0] == app
    assert told["command"][-1] == "--its-own"
    everything = json.dumps(told)
    assert f"http://127.0.0.1:{dmrc.port}/{'anthropic' if app == 'claude' else 'v1'}" in everything
    assert "ai/coder" in everything
    assert dmrc.processes() == []


def test_what_is_printed_can_be_run_by_a_shell(dmrc: Dmrc) -> None:
    *exports, command = dmrc.ok("launch", "opencode", "--model", "ai/coder", "--print").splitlines()

    assert [line.partition("=")[0] for line in exports] == ["export OPENCODE_CONFIG_CONTENT"]
    assert command == "opencode"
    assert dmrc.ok("launch", "opencode", "--model", "ai/coder", "--dry-run").splitlines() == [*exports, command]


@pytest.mark.engine
def test_the_program_runs_with_the_only_model(dmrc: Dmrc, tiny: str, tmp_path: Path) -> None:
    programs = write_program(tmp_path / "bin", "claude", 'echo "$ANTHROPIC_MODEL $1"')
    dmrc.environment["PATH"] = f"{programs}:{dmrc.environment['PATH']}"

    assert dmrc.ok("launch", "claude", "--", "say hi") == f"{tiny} say hi\n"
    assert eventually(lambda: dmrc.ok("ps", "--json") != "[]\n", "loading of the model")
    assert json.loads(dmrc.ok("launch", "--json"))[1] == {"app": "claude", "path": str(programs / "claude")}


def test_what_is_missing_is_said_before_anything_is_pulled(dmrc: Dmrc) -> None:
    many = dmrc.run("launch", "codex")
    absent = dmrc.run("launch", "codex", "--model", "ai/coder", env={"PATH": "/nowhere"})

    assert (many.returncode, absent.returncode) == (2, 3)
    assert "there are 0 models in the store. Say which one: --model ai/smollm2" in many.stderr
    assert "there is no codex on PATH" in absent.stderr
