"""All commands and flags of `docker model`, by Docker Model Runner's own reference."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import click
import pytest

from dmrc.cli.main import create_cli
from dmrc.docker_model import commands, output
from dmrc.hooks.plugins import Plugins
from tests.dmrc_command import Dmrc
from tests.installing.wheel_index import put, serving
from tests.tiny_safetensors import write_least_directory

# Source: cmd/cli/docs/reference of docker/model-runner 642c7211.
_INSTALL = (
    "--port --host --gpu --backend --llama-server-version --do-not-track --debug --proxy-cert "
    "--tls --tls-port --tls-cert --tls-key"
)
REFERENCE = {
    "list": "--openai --openaiurl --quiet -q",
    "inspect": "--openai --remote -r",
    "show": "--remote -r",
    "status": "--json",
    "version": "",
    "ps": "",
    "df": "",
    "requests": "--model --follow -f --include-existing",
    "logs": "--follow -f --no-engines",
    "unload": "--all --backend",
    "stop": "--all --backend",
    "pull": "",
    "push": "",
    "rm": "--force -f",
    "tag": "",
    "run": "--debug --color --detach -d --openaiurl --websearch",
    "package": "--gguf --safetensors-dir --dduf --from --license -l --mmproj --chat-template --context-size --push "
    "--format",
    "configure set": "--context-size --speculative-draft-model --speculative-num-tokens --hf_overrides --mode --think "
    "--speculative-min-acceptance-rate --gpu-memory-utilization --keep-alive",
    "config set": "--context-size --mode --think --keep-alive",
    "configure show": "",
    "search": "--limit -n --source --json",
    "bench": "--prompt --duration --concurrency --timeout --json",
    "launch": "--port --image --detach --dry-run --config --model",
    "context create": "",
    "context use": "",
    "context ls": "",
    "context rm": "",
    "context inspect": "",
    "skills": "",
    "gateway": "",
    "install-runner": _INSTALL,
    "start-runner": _INSTALL,
    "restart-runner": _INSTALL,
    "reinstall-runner": _INSTALL,
    "stop-runner": "--models",
    "uninstall-runner": "--models --images --backend",
    "purge": "--force -f",
    "compose up": "",
    "compose down": "",
    "compose metadata": "",
}


def _command(path: str) -> click.Command:
    command: click.Command = create_cli(Plugins(()), commands)
    for name in path.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"there is no {path}"
        command = found
    return command


@pytest.mark.parametrize("path", REFERENCE)
def test_the_command_takes_its_flags(path: str) -> None:
    command = _command(path)

    taken = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    assert set(REFERENCE[path].split()) <= taken


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--openaiurl", "x"], "'x' must be the URL of a server. Give one as http://localhost:8000/v1"),
        (["run", "--websearch", "x", "Hi"], "--websearch cannot be used here"),
        (["inspect", "--remote", "hf.co/a/b"], "model 'hf.co/a/b' can only be shown from the store. Pull it first"),
        (["package", "--safetensors-dir", "/x", "y"], "'/x' must be a directory"),
        (["configure", "--gpu-memory-utilization", "2", "x"], "must be a number above 0 and up to 1, not 2.0"),
        (["configure", "--hf_overrides", "[", "x"], "--hf_overrides must be JSON"),
        (["install-runner", "--port", "9"], "--port 9 is not the port of the daemon. Set DMRC_PORT=9"),
        (["install-runner", "--tls"], "--tls cannot be used here"),
        (["install-runner", "--gpu", "musa"], "Install one of yours: dmrc engine install --from PATH"),
        (["context", "create", "x", "--host", "http://y"], "dmrc asks the daemon of this machine and no other"),
        (["gateway", "-c", "x"], "the daemon is the gateway"),
        (["skills", "--codex"], "Give them a model: docker model launch"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_one_line_with_what_to_do(docker_model: Dmrc, arguments: list[str], words: str) -> None:
    done = docker_model.run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert docker_model.processes() == []


def test_the_commands_of_the_runner_start_and_stop_the_daemon(docker_model: Dmrc) -> None:
    def pid() -> object:
        return json.loads(docker_model.run("status", "--json").stdout).get("pid")

    installed = docker_model.ok("install-runner", "--gpu", "auto", "--do-not-track", "--port", str(docker_model.port))
    first = pid()
    docker_model.ok("start-runner")
    second = pid()
    docker_model.ok("restart-runner")
    third = pid()
    docker_model.ok("uninstall-runner", "--images")

    assert f"in no container: http://127.0.0.1:{docker_model.port}/engines/v1" in installed
    assert first == second
    assert third not in (None, first)
    assert pid() is None
    assert docker_model.processes() == []


@pytest.mark.engine
def test_the_build_for_a_card_is_installed_before_the_daemon_starts(
    docker_model: Dmrc, wheel: Path, tmp_path: Path
) -> None:
    """Docker Model Runner takes another image for `--gpu`; ignored, it leaves its user with the processor."""
    put(tmp_path / "vulkan", wheel)
    with serving(tmp_path) as url:
        no_card = docker_model.run("install-runner", "--gpu", "vulkan", env={"DMRC_ENGINE_INDEX": url})
    before = docker_model.processes()
    processor = docker_model.run("install-runner", "--gpu", "none")

    assert (no_card.returncode, no_card.stdout) == (5, "")
    assert f"Fetching {wheel.name} from {url}/vulkan" in no_card.stderr
    assert "build 'vulkan' sees no graphics card here" in no_card.stderr
    assert before == []
    assert processor.returncode == 0, processor.stderr
    assert processor.stderr.startswith("build 'xllamacpp' (version 20") and "on the processor" in processor.stderr
    assert "The daemon runs on this machine" in processor.stdout


def test_a_directory_of_safetensors_is_packaged_and_told_to_be_for_another_engine(
    docker_model: Dmrc, tmp_path: Path
) -> None:
    files = write_least_directory(tmp_path / "files")

    docker_model.ok("package", "--safetensors-dir", files, "local/other")
    ran = docker_model.run("run", "local/other", "Hi")

    assert json.loads(docker_model.ok("inspect", "local/other"))["config"]["format"] == "safetensors"
    assert (ran.returncode, ran.stdout) == (5, "")
    assert ran.stderr == (
        "dmrc: engine 'vllm' is not installed. Run: pip install vllm, in an environment of its own, and set DMRC_VLLM "
        "to its program; or use a model in GGUF\n"
    )


def test_purge_asks_and_removes_all_models(docker_model: Dmrc, gguf: Path) -> None:
    docker_model.ok("package", "--gguf", gguf, "ai/tiny")
    docker_model.ok("tag", "ai/tiny", "me/tiny")

    asked = docker_model.run("purge", input="n\n")

    assert (asked.returncode, asked.stdout) == (0, "Operation cancelled.\n")
    assert len(docker_model.ok("ls", "-q").split()) == 1
    assert "Deleted: sha256:" in docker_model.ok("purge", "-f")
    assert docker_model.ok("ls", "-q") == ""
    assert docker_model.ok("purge", "--force") == ""


def test_the_one_context_is_the_daemon(docker_model: Dmrc) -> None:
    header, row = docker_model.ok("context", "ls").splitlines()

    assert header.split() == ["NAME", "HOST", "DESCRIPTION", "CURRENT"]
    assert row.split()[:2] == ["default", f"http://127.0.0.1:{docker_model.port}"]
    assert json.loads(docker_model.ok("context", "inspect"))[0]["name"] == "default"
    assert docker_model.run("context", "use", "default").returncode == 0
    assert docker_model.run("context", "use", "other").returncode == 3


@pytest.mark.parametrize("command", [output.status, output.version, output.ps, output.push, output.show])
def test_a_command_in_other_words_takes_every_option_of_dmrcs_own(command: click.Command) -> None:
    """#19: `dmrc push --as` came, and `docker model push` ended in a traceback."""
    callback = inspect.unwrap(command.callback or pytest.fail("it does nothing"))
    tell = inspect.getclosurevars(callback).nonlocals["tell"]
    options = {str(each.name): None for each in command.params if each.name not in ("as_json", "help")}
    inspect.signature(tell).bind(None, **options)
