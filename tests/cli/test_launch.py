import json
import shlex
from pathlib import Path

import pytest

from tests.cli.refusals import write_program
from tests.dmrc_command import Dmrc
from tests.polling import eventually

_APPS = ["aider", "claude", "codex", "opencode"]
_STEADY = {
    "aider": {"AIDER_MAP_REFRESH": "files"},
    "claude": {
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
        "CLAUDE_CODE_TOTAL_TOKENS_REMINDER": "off",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    },
}
_OPENWEBUI = """\
export OPENAI_API_BASE_URL=http://model-runner.docker.internal:PORT/engines/v1
export OPENAI_API_KEY='sk-dmrc-…'
export DEFAULT_MODELS=ai/coder
export ENABLE_OLLAMA_API=false
export WEBUI_AUTH=false
export CORS_ALLOW_ORIGIN='http://127.0.0.1:3000;http://localhost:3000'
docker run --rm --name dmrc-openwebui --publish 127.0.0.1:3000:8080 \
--add-host model-runner.docker.internal:host-gateway --volume dmrc-openwebui:/app/backend/data \
--env OPENAI_API_BASE_URL --env OPENAI_API_KEY --env DEFAULT_MODELS --env ENABLE_OLLAMA_API --env WEBUI_AUTH \
--env CORS_ALLOW_ORIGIN ghcr.io/open-webui/open-webui:main
"""
_ANYTHINGLLM = """\
export STORAGE_DIR=/app/server/storage
export LLM_PROVIDER=generic-openai
export GENERIC_OPEN_AI_BASE_PATH=http://model-runner.docker.internal:PORT/engines/v1
export GENERIC_OPEN_AI_API_KEY='sk-dmrc-…'
export GENERIC_OPEN_AI_MODEL_PREF=ai/coder
export GENERIC_OPEN_AI_MODEL_TOKEN_LIMIT=4096
docker run --rm --name dmrc-anythingllm --detach --publish 127.0.0.1:8080:3001 \
--add-host model-runner.docker.internal:host-gateway --volume dmrc-anythingllm:/app/server/storage \
--env STORAGE_DIR --env LLM_PROVIDER --env GENERIC_OPEN_AI_BASE_PATH --env GENERIC_OPEN_AI_API_KEY \
--env GENERIC_OPEN_AI_MODEL_PREF --env GENERIC_OPEN_AI_MODEL_TOKEN_LIMIT llm:mine serve
"""


@pytest.mark.parametrize("app", _APPS)
def test_a_program_is_told_the_gateway_and_the_model(dmrc: Dmrc, app: str) -> None:
    told = json.loads(dmrc.ok("launch", app, "--model", "ai/coder", "--json", "--", "--its-own"))

    assert told["command"][0] == app
    assert told["command"][-1] == "--its-own"
    everything = json.dumps(told)
    assert f"http://127.0.0.1:{dmrc.port}/{'anthropic' if app == 'claude' else 'v1'}" in everything
    assert "ai/coder" in everything
    assert dmrc.processes() == []


@pytest.mark.parametrize(("app", "steady"), _STEADY.items())
def test_the_beginning_of_prompts_stays_unless_the_user_says_otherwise(
    dmrc: Dmrc, app: str, steady: dict[str, str]
) -> None:
    for name in steady:
        dmrc.environment.pop(name, None)

    def variables(environ: dict[str, str]) -> dict[str, str]:
        told = json.loads(dmrc.ok("launch", app, "--model", "ai/coder", "--json", env=environ))
        return {name: value for name, value in told["environment"].items() if name in steady}

    assert variables({}) == steady
    for name in steady:
        assert variables({name: "mine"}) == {other: value for other, value in steady.items() if other != name}


@pytest.mark.parametrize("place", ["home", "repository", "here"])
def test_what_a_file_says_to_aider_stays(dmrc: Dmrc, tmp_path: Path, place: str) -> None:
    """A variable would go over its files."""
    here = tmp_path / "repository" / "here"
    here.mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "repository" / ".git").mkdir()

    def variables() -> list[str]:
        dmrc.environment["HOME"] = str(tmp_path / "home")
        told = dmrc.run("launch", "aider", "--model", "ai/coder", "--json", cwd=here)
        return [name for name in json.loads(told.stdout)["environment"] if name.startswith("AIDER_")]

    before = variables()
    directory = {"here": here, "repository": here.parent, "home": tmp_path / "home"}[place]
    (directory / ".aider.conf.yml").write_text("dark-mode: true\nmap-refresh: always\n")

    assert (before, variables()) == (["AIDER_MAP_REFRESH"], [])


def test_what_is_printed_can_be_run_by_a_shell(dmrc: Dmrc) -> None:
    *exports, command = dmrc.ok("launch", "opencode", "--model", "ai/coder", "--print").splitlines()

    assert [line.partition("=")[0] for line in exports] == ["export OPENCODE_CONFIG_CONTENT"]
    assert command == "opencode"
    assert dmrc.ok("launch", "opencode", "--model", "ai/coder", "--dry-run").splitlines() == [*exports, command]


@pytest.mark.engine
def test_the_program_runs_with_the_only_model(dmrc: Dmrc, tiny: str, tmp_path: Path) -> None:
    programs = write_program(tmp_path / "bin", "claude", 'echo "$ANTHROPIC_MODEL $1"')
    dmrc.environment["PATH"] = f"{programs}:{dmrc.environment['PATH']}"

    done = dmrc.run("launch", "claude", "--", "say hi")

    assert (done.returncode, done.stdout) == (0, f"{tiny} say hi\n")
    assert f"{tiny} is served with 64 tokens" in done.stderr
    assert f"dmrc configure {tiny} --context-size 32768" in done.stderr
    assert eventually(lambda: dmrc.ok("ps", "--json") != "[]\n", "loading of the model")
    listed = {each["app"]: each for each in json.loads(dmrc.ok("launch", "--json"))}
    assert listed["claude"] == {"app": "claude", "path": str(programs / "claude"), "image": None}
    assert listed["openwebui"]["image"] == "ghcr.io/open-webui/open-webui:main"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["openwebui"], _OPENWEBUI),
        (["anythingllm", "--detach", "--port", "8080", "--image", "llm:mine", "--", "serve"], _ANYTHINGLLM),
    ],
)
@pytest.mark.parametrize("flag", ["--dry-run", "--config"])
def test_a_container_is_told_by_variables_which_a_dry_run_prints(
    dmrc: Dmrc, arguments: list[str], expected: str, flag: str
) -> None:
    printed = dmrc.ok("launch", "--model", "ai/coder", flag, *arguments)

    assert printed == expected.replace("PORT", str(dmrc.port))
    assert dmrc.processes() == []
    assert list((dmrc.home / "projects").iterdir()) == [], "no key is made"


def test_openclaw_is_told_by_commands_of_its_own(dmrc: Dmrc) -> None:
    set_up, choose, command = dmrc.ok("launch", "openclaw", "--model", "ai/coder", "--print").splitlines()

    words = shlex.split(set_up)
    assert words[:-1] == ["openclaw", "config", "set", "models.providers.dmrc"]
    provider = json.loads(words[-1])
    assert (provider["baseUrl"], provider["api"]) == (f"http://127.0.0.1:{dmrc.port}/v1", "openai-completions")
    assert provider["models"] == [{"id": "ai/coder", "name": "ai/coder", "contextWindow": 4096, "maxTokens": 2048}]
    assert (choose, command) == ("openclaw models set dmrc/ai/coder", "openclaw")


def test_a_program_of_this_machine_has_no_port_and_no_image(dmrc: Dmrc) -> None:
    done = dmrc.run("launch", "claude", "--model", "ai/coder", "--port", "3000")

    assert done.returncode == 2
    assert "--port, --image and --detach are for containers: anythingllm, openwebui" in done.stderr


def test_what_is_missing_is_said_before_anything_is_pulled(dmrc: Dmrc) -> None:
    many = dmrc.run("launch", "codex")
    absent = dmrc.run("launch", "codex", "--model", "ai/coder", env={"PATH": "/nowhere"})

    assert (many.returncode, absent.returncode) == (2, 3)
    assert "there are 0 models in the store. Say which one: --model ai/smollm2" in many.stderr
    assert "there is no codex on PATH" in absent.stderr
