"""`dmrc configure`: what it sets, what it is merged with, and what becomes of a runner that is busy."""

import http.client
import json
from pathlib import Path

import pytest

from tests.cli.refusals import write_project
from tests.dmrc_command import Dmrc
from tests.polling import eventually
from tests.tiny_gguf import write_tiny_llama
from tests.tiny_safetensors import write_tiny_llama_directory

_MODEL = "me/tiny"
_FULL = "docker.io/me/tiny:latest"


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf", context_length=1 << 17)


def shown(dmrc: Dmrc, *arguments: str) -> dict[str | None, dict[str, dict[str, object]]]:
    """The entries of `configure show`, by project."""
    return {entry["Project"]: entry for entry in json.loads(dmrc.ok("configure", "show", *arguments, "--json"))}


def values(entry: dict[str, dict[str, object]]) -> dict[str, tuple[object, object]]:
    """Each field's value with its origin."""
    return {name: (value, entry["Origin"].get(name)) for name, value in entry["Config"].items()}


def test_each_field_is_that_of_the_strongest_who_says_it(dmrc: Dmrc, tiny: str, tmp_path: Path) -> None:
    project = write_project(tmp_path / "shop", tiny, 'runtime_flags: ["--temp", "0"]')
    dmrc.ok("env", "web", cwd=project)

    dmrc.ok("configure", tiny, "--parallel", "2", "--keep-alive", "90", "--", "--top-k", "5")
    dmrc.ok("configure", tiny, "--project", "shop", "--keep-alive", "-1")
    dmrc.ok("configure", "set", f"docker.io/{tiny}:latest", "--no-think")
    entries = shown(dmrc, tiny)

    assert values(entries[None]) == {
        "context-size": (64, "package"),
        "runtime-flags": (["--top-k", "5"], "command line"),
        "parallel": (2, "command line"),
        "keep_alive": ("1m30s", "command line"),
        "llamacpp": ({"reasoning-budget": 0}, None),
    }
    assert entries[None]["Origin"]["reasoning-budget"] == "command line"
    assert values(entries["shop"]) | {"llamacpp": None} == {
        "context-size": (64, "package"),
        "runtime-flags": (["--temp", "0"], "compose"),
        "parallel": (2, "command line"),
        "keep_alive": ("-1", "command line"),
        "llamacpp": None,
    }
    assert (entries["shop"]["Model"], entries["shop"]["Backend"], entries["shop"]["Mode"]) == (
        _FULL,
        "llama.cpp",
        "completion",
    )
    assert shown(dmrc).keys() == {None, "shop"}
    table = dmrc.ok("configure", "show")
    assert any(
        line.split() == ["me/tiny", "shop", "runtime-flags", "--temp", "0", "compose"] for line in table.splitlines()
    )
    assert any(
        line.split() == ["me/tiny", "-", "reasoning-budget", "0", "command", "line"] for line in table.splitlines()
    )


def test_it_outlives_the_daemon_until_it_is_removed(dmrc: Dmrc, tiny: str) -> None:
    dmrc.ok("configure", "--context-size", "128", tiny)
    dmrc.ok("configure", tiny, "--parallel", "3")
    dmrc.ok("stop-runner")

    kept = values(shown(dmrc)[None])
    dmrc.ok("configure", "rm", tiny)
    again = dmrc.run("configure", "rm", tiny)

    assert (kept["context-size"], kept["parallel"]) == ((128, "command line"), (3, "command line"))
    assert shown(dmrc) == {}
    assert values(shown(dmrc, tiny)[None]) == {"context-size": (64, "package"), "keep_alive": ("5m0s", "default")}
    assert (again.returncode, again.stderr) == (
        3,
        f"dmrc: nothing was set for model '{tiny}'. See: dmrc configure show\n",
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "nothing to set"),
        (("--context-size", "0"), 2, "context-size"),
        (("--keep-alive", "soon"), 2, "--keep-alive must be a duration, not 'soon'"),
        (("--engine", "llama.cp"), 2, "there is no engine 'llama.cp' (did you mean 'llama.cpp'?)"),
        (("--engine", "upstream"), 2, "engine 'upstream' serves no model of the store. Use one of "),
        (("--", "--tmp", "0"), 2, "runtime flag '--tmp' is unknown"),
    ],
)
def test_what_cannot_be_is_refused_and_not_kept(
    dmrc: Dmrc, tiny: str, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = dmrc.run("configure", tiny, *arguments)

    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert shown(dmrc) == {}


def test_a_model_that_is_not_in_the_store_is_not_found(dmrc: Dmrc) -> None:
    for arguments in (("me/none", "--parallel", "2"), ("show", "me/none")):
        done = dmrc.run("configure", *arguments)

        assert (done.returncode, done.stderr) == (
            3,
            "dmrc: model 'me/none' is not in the store. Run: dmrc pull me/none\n",
        )


@pytest.mark.engine
def test_a_busy_runner_finishes_and_new_requests_get_the_new_configuration(dmrc: Dmrc, tiny: str) -> None:
    dmrc.ok("configure", tiny, "--context-size", "100000", "--parallel", "1")
    connection, stream = _stream(dmrc, 90_000)
    stream.readline()
    (old,) = _runners(dmrc)

    dmrc.ok("configure", tiny, "--context-size", "256")
    short, answer = _stream(dmrc, 4)

    assert answer.read().endswith(b"data: [DONE]\n\n")
    assert [(each["context_size"], each["state"]) for each in _runners(dmrc)] == [(100000, "draining"), (256, "ready")]
    assert stream.readline() + stream.readline()  # it goes on
    connection.close()
    eventually(lambda: [each["context_size"] for each in _runners(dmrc)] == [256], "end of the old runner")
    assert old["state"] == "ready"
    short.close()


@pytest.mark.engine
def test_docker_model_runners_route_replaces_and_shows(dmrc: Dmrc, tiny: str, tmp_path: Path) -> None:
    project = write_project(tmp_path / "shop", tiny)
    key = json.loads(dmrc.ok("env", "web", "--format", "json", cwd=project))["OPENAI_API_KEY"]
    body = {"model": tiny, "context-size": 128, "runtime-flags": ["--temp", "0"], "keep_alive": "5m0s"}

    answers = [
        _request(dmrc, "POST", "/engines/_configure", body),
        _request(dmrc, "POST", "/engines/llama.cpp/_configure", {"model": tiny, "raw-runtime-flags": "--top-k '7'"}),
    ]
    replaced = _configured(dmrc, tiny)
    speculative = {"draft_model": tiny, "num_tokens": 2, "min_acceptance_rate": 0.5}
    more = {"keep_alive": "7m", "llamacpp": {"reasoning-budget": 0}, "speculative": speculative}
    answers.append(_request(dmrc, "POST", "/engines/_configure", {"model": tiny, **body, **more}))
    all_of_it = _configured(dmrc, tiny)
    answers.append(_request(dmrc, "POST", "/engines/_configure", {"model": tiny, "context-size": -1}))
    answers.append(_request(dmrc, "POST", "/engines/_configure", {"model": "me/none", "context-size": 64}))
    forgotten = _configured(dmrc, tiny)

    assert answers == [(202, b"")] * 5
    assert replaced == {"context-size": 64, "runtime-flags": ["--top-k", "7"], "keep_alive": "5m0s"}
    assert all_of_it == {
        "context-size": 128,
        "runtime-flags": ["--temp", "0"],
        "keep_alive": "7m0s",
        "llamacpp": {"reasoning-budget": 0},
        "speculative": {**speculative, "draft_model": f"docker.io/{tiny}:latest"},
    }
    assert forgotten == {"context-size": 64, "keep_alive": "5m0s"}
    assert _request(dmrc, "GET", "/engines/_configure?model=me/nowhere") == (200, b"[]")
    for refused, code in (
        ({"model": tiny, "runtime-flags": ["--lora", "x"]}, 400),
        ({"model": tiny, "vllm": {"gpu-memory-utilization": 0.5}}, 501),
        ({"model": tiny, "vllm": {"gpu-memory-utilization": 2}}, 422),
        ({"model": tiny, "vllm": {"hf-overrides": {"not a name": 1}}}, 422),
        ({"model": tiny, "mode": "image-generation"}, 422),
        ({"model": tiny, "context-size": "many"}, 422),
        ({"model": tiny, "speculative": {"draft_model": tiny, "min_acceptance_rate": 2}}, 422),
        ({}, 422),
    ):
        status, text = _request(dmrc, "POST", "/engines/_configure", refused)
        assert (status, isinstance(json.loads(text)["error"]["code"], str)) == (code, True), text
    assert _request(dmrc, "POST", "/engines/_configure", body, {"authorization": f"Bearer {key}"})[0] == 403


def test_what_vllm_knows_is_set_by_the_command_and_by_the_route(dmrc: Dmrc, tmp_path: Path) -> None:
    program = tmp_path / "vllm"
    program.write_text("#!/bin/false\n")
    program.chmod(0o755)
    dmrc.environment["DMRC_VLLM"] = str(program)
    model = "me/directory"
    dmrc.ok("package", "--safetensors-dir", write_tiny_llama_directory(tmp_path / "tiny"), model)

    dmrc.ok("configure", model, "--hf_overrides", '{"rope_theta": 2}', "--gpu-memory-utilization", "0.5")
    shown = dmrc.ok("configure", "show", model)
    replaced = {"model": model, "vllm": {"hf-overrides": {"rope_theta": 3}}}
    answer = _request(dmrc, "POST", "/engines/_configure", replaced)

    assert [line.split()[-4:-2] for line in shown.splitlines() if "gpu-memory" in line] == [
        ["gpu-memory-utilization", "0.5"]
    ]
    assert '{"rope_theta": 2}' in shown
    assert answer == (202, b"")
    assert _configured(dmrc, model) == {
        "context-size": 4096,
        "keep_alive": "5m0s",
        "vllm": {"hf-overrides": {"rope_theta": 3}},
    }


def _configured(dmrc: Dmrc, model: str) -> object:
    status, text = _request(dmrc, "GET", f"/engines/_configure?model={model}")
    assert status == 200
    return json.loads(text)[0]["Config"]


def _runners(dmrc: Dmrc) -> list[dict[str, object]]:
    runners: list[dict[str, object]] = json.loads(dmrc.ok("ps", "--json"))
    return runners


def _stream(dmrc: Dmrc, max_tokens: int) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", dmrc.port, timeout=60)
    body = {"model": _MODEL, "prompt": "ba be", "max_tokens": max_tokens, "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200
    return connection, answer


def _request(
    dmrc: Dmrc, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", dmrc.port, timeout=60)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
