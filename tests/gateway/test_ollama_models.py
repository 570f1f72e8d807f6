"""Ollama's routes about models, through Ollama's own client, on a daemon and a real registry."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import ollama
import pytest

from tests.dmrc_command import Dmrc
from tests.registry import RegistryServer
from tests.sources.misbehaving import Misbehaving, serve
from tests.tiny_gguf import write_tiny_llama

NAME = "docker.io/ai/tiny:latest"


@pytest.fixture
def client(dmrc: Dmrc) -> Iterator[ollama.Client]:
    with subprocess.Popen([dmrc.program, "serve"], env=dmrc.environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "dmrc serves" not in (line := process.stderr.readline()):
            assert line, "the daemon ended"
        yield ollama.Client(host=f"http://127.0.0.1:{dmrc.port}", timeout=60)
        process.terminate()
        assert "Traceback" not in process.communicate(timeout=30)[1]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "tiny.gguf")


def ask(dmrc: Dmrc, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", dmrc.port, timeout=60)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_pull_tells_of_each_layer_and_ends_with_success(
    client: ollama.Client, registry: RegistryServer, tiny: Path
) -> None:
    digest = registry.push_model("ai/tiny:v1", tiny)
    name, size = f"{registry.address}/ai/tiny:v1", tiny.stat().st_size

    lines = list(client.pull(name, stream=True))

    assert lines[0].status == "pulling manifest"
    assert lines[-1].status == "success"
    layer = [line for line in lines if line.total == size][-1]
    assert layer.completed == size
    assert layer.status == f"pulling {layer.digest.removeprefix('sha256:')[:12]}"
    assert client.pull(name).status == "success"
    (listed,) = client.list().models
    assert (listed.model, listed.digest) == (name, digest.removeprefix("sha256:"))


def test_a_pull_that_fails_says_why_by_its_status_or_its_last_line(
    client: ollama.Client, registry: RegistryServer
) -> None:
    def weights(handler: object) -> None:
        handler.send_error(403)  # type: ignore[attr-defined]

    for stream in (False, True):
        with pytest.raises(ollama.ResponseError, match="ai/nothing") as missing:
            list(client.pull(f"{registry.address}/ai/nothing", stream=stream))
        assert missing.value.status_code == 404
    with Misbehaving(serve(weights=weights)) as server, pytest.raises(ollama.ResponseError, match="cannot be pulled"):
        list(client.pull(f"{server.address}/a/b", stream=True))
    assert client.list().models == []


def test_tags_show_copy_and_delete(client: ollama.Client, dmrc: Dmrc, tiny: Path) -> None:
    dmrc.ok("package", "--gguf", tiny, "--context-size", "64", "ai/tiny")

    (listed,) = client.list().models
    shown = client.show("ai/tiny")
    client.copy("ai/tiny", "me/other:v1")

    assert listed.model == NAME
    assert listed.size > tiny.stat().st_size
    assert (listed.details.format, listed.details.family, listed.details.quantization_level) == ("gguf", "llama", "F16")
    assert shown.details == listed.details
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["llama.context_length"] == 512
    assert shown.modelinfo["general.parameter_count"] > 100_000
    assert shown.parameters.split() == ["num_ctx", "64"]
    assert shown.capabilities == ["completion"]
    assert "add_generation_prompt" in shown.template
    assert {each.model for each in client.list().models} == {NAME, "docker.io/me/other:v1"}
    client.delete("ai/tiny")
    assert [each.model for each in client.list().models] == ["docker.io/me/other:v1"]
    for act in (client.delete, client.show, lambda name: client.copy(name, "a/b")):
        with pytest.raises(ollama.ResponseError, match="is not in the store") as unknown:
            act("ai/tiny")
        assert unknown.value.status_code == 404


@pytest.mark.engine
def test_ps_shows_what_runs_and_delete_unloads_it(client: ollama.Client, dmrc: Dmrc, tiny: Path) -> None:
    dmrc.ok("package", "--gguf", tiny, "--context-size", "64", "ai/tiny")
    assert client.ps().models == []

    client.generate("ai/tiny", "Hi", options={"num_predict": 2}, keep_alive="2m")
    (running,) = client.ps().models
    client.delete("ai/tiny")

    assert (running.name, running.context_length, running.details.family) == (NAME, 64, "llama")
    assert running.size > 0
    assert running.expires_at is not None
    assert client.ps().models == []
    assert client.list().models == []


@pytest.mark.engine
def test_a_service_sees_its_own_models_and_manages_none(
    client: ollama.Client, dmrc: Dmrc, tmp_path: Path, tiny: Path
) -> None:
    (tmp_path / "compose.yaml").write_text(
        "name: shop\nservices:\n  web: {image: none, models: [m]}\nmodels:\n  m: {model: ai/tiny}\n"
    )
    dmrc.ok("package", "--gguf", tiny, "ai/tiny")
    dmrc.ok("package", "--gguf", tiny, "--context-size", "64", "ai/foreign")
    key = json.loads(dmrc.ok("env", "web", "--format", "json", cwd=tmp_path))["OPENAI_API_KEY"]
    service = ollama.Client(host=f"http://127.0.0.1:{dmrc.port}", headers={"authorization": f"Bearer {key}"})

    assert [each.model for each in service.list().models] == ["ai/tiny"]
    assert service.show("ai/tiny").details.family == "llama"
    assert service.ps().models == []
    service.generate("ai/tiny", "Hi", options={"num_predict": 2})
    (running,) = service.ps().models
    assert (running.name, running.model) == ("ai/tiny", "ai/tiny")  # by which clients find it in the list
    (listed,) = json.loads(dmrc.ok("ps", "--json"))
    assert running.size == listed["memory_estimated_bytes"] - listed["prompt_cache_bytes"]
    forbidden = (
        lambda: service.show("ai/foreign"),
        lambda: service.pull("ai/tiny"),
        lambda: service.delete("ai/tiny"),
        lambda: service.copy("ai/tiny", "me/tiny"),
    )
    for act in forbidden:
        with pytest.raises(ollama.ResponseError) as refused:
            act()
        assert refused.value.status_code == 403
    assert len(client.list().models) == 2


def test_probes_and_errors_have_ollamas_shapes(client: ollama.Client, dmrc: Dmrc) -> None:
    assert [ask(dmrc, "HEAD", path)[0] for path in ("/", "/api/tags", "/api/version")] == [200] * 3
    assert json.loads(ask(dmrc, "GET", "/api/version")[1])["version"]
    for method, path, body, status in (
        ("POST", "/api/pull", {}, 400),
        ("POST", "/api/pull", {"model": "a:b:c"}, 400),
        ("DELETE", "/api/delete", ["ai/tiny"], 400),
        ("POST", "/api/create", {"model": "a"}, 404),
        ("POST", "/api/show", {"name": "ai/nothing"}, 404),
        ("POST", "/api/chat", {"messages": []}, 400),
        ("POST", "/api/embed", {"model": "a", "input": [1]}, 400),
    ):
        found, data = ask(dmrc, method, path, body)
        assert (found, type(json.loads(data)["error"])) == (status, str), (path, body)
    assert ask(dmrc, "GET", "/api/tags", Origin="https://evil.example.com")[0] == 403
