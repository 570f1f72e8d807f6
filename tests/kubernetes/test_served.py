"""The exported files at work: the init container's command, the engine's arguments, the gateway's registration."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import urllib3

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.groups import LLAMA_SERVER, compose_binary
from tests.kubernetes.exporting import Exported, Exporter
from tests.ports import free_port
from tests.registry import RegistryServer
from tests.tiny_gguf import write_tiny_llama

_SECONDS = 60

_COMPOSE = """
services:
  web: {{image: example/web, models: [llm], environment: {{SHOP_PASSWORD: hunter2-of-web}}}}
  other: {{image: example/other}}
models:
  llm:
    model: {name}
    context_size: 128
    x-dmrc: {{parallel: 2, chat_template: ./chat.jinja}}
"""


@pytest.fixture
def exporter(dmrc: Dmrc, tmp_path: Path, registry: RegistryServer, needs_compose: None) -> Exporter:
    """A project whose model is in a registry."""
    dmrc.environment["PATH"] = f"{(compose_binary() or Path()).parent}:{os.environ['PATH']}"
    gguf = write_tiny_llama(tmp_path / "tiny.gguf")
    digest = dmrc.ok("package", "--gguf", gguf, "--push", f"{registry.address}/me/tiny:v1").strip()
    project = tmp_path / "shop"
    project.mkdir()
    (project / "chat.jinja").write_text("{% for message in messages %}{{ message.content }}{% endfor %}")
    return Exporter(dmrc, project, digest.splitlines()[-1])


@contextmanager
def _engine(exported: Exported, weights: Path, port: int) -> Iterator[None]:
    """Run the engine of the Deployment, with its files where the Pod would have them."""
    container = exported.pod("dmrc-model-llm")["containers"][0]
    files = exported.directory.parent
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "weights")
    words = [word.replace("/model/", f"{weights / mount['subPath']}/") for word in container["args"]]
    words = [word.replace("/files/", f"{files}/") for word in words]
    words[words.index("--host") + 1], words[words.index("--port") + 1] = "127.0.0.1", str(port)
    key = exported.secret("dmrc-engine-keys")["ENGINE_KEY_LLM"]
    process = subprocess.Popen([str(LLAMA_SERVER), *words], env={**os.environ, "LLAMA_API_KEY": key})
    try:
        _wait(process, f"http://127.0.0.1:{port}/health", 200)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def _gateway(exported: Exported, dmrc: Dmrc, directory: Path, engine_port: int) -> Iterator[str]:
    """Run the gateway with what its ConfigMap and its Secrets hold, its upstreams on this machine; yield its URL."""
    data = exported.one("ConfigMap", "dmrc-gateway-project")["data"]["project.json"]
    file = directory / "project.json"
    file.write_text(data.replace("http://dmrc-model-llm:8080", f"http://127.0.0.1:{engine_port}"))
    container = exported.pod("dmrc-gateway")["containers"][0]
    variables = {each["name"]: each["value"] for each in container["env"] if each["name"].startswith("DMRC_")}
    secrets = exported.secret("dmrc-engine-keys")
    kept_out = directory / "secrets.json"
    kept_out.write_text(exported.secret("dmrc-gateway-secrets")["secrets.json"])
    there = {"/etc/dmrc/project/project.json": str(file), "/etc/dmrc/secrets/secrets.json": str(kept_out)}
    words = [there.get(word, word) for word in container["args"]]
    assert (variables["DMRC_LISTEN"], variables["DMRC_LISTEN_PLAIN"]) == ("0.0.0.0:12435", "1")
    listens = free_port()
    here = {"DMRC_HOME": str(dmrc.home), "DMRC_LISTEN": f"127.0.0.1:{listens}"}
    environment = {**dmrc.environment, **secrets, **variables, **here}
    process = subprocess.Popen([dmrc.program, *words], env=environment)
    try:
        url = f"http://127.0.0.1:{listens}/engines/v1"
        _wait(process, f"{url}/models", 401)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(process: subprocess.Popen[bytes], url: str, status: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"it ended with {process.returncode}"
        try:
            if urllib3.request("GET", url, retries=False, timeout=2).status == status:
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.05)
    raise AssertionError(f"no answer of {url}")


def _ask(url: str, key: str) -> urllib3.BaseHTTPResponse:
    body = {"model": "llm", "messages": [{"role": "user", "content": "hello hunter2-of-web"}], "max_tokens": 4}
    return urllib3.request(
        "POST",
        f"{url}/chat/completions",
        json=body,
        headers={"Authorization": f"Bearer {key}"},
        retries=False,
        timeout=_SECONDS,
    )


def test_the_exported_files_serve_the_service_and_refuse_strangers(
    exporter: Exporter, tmp_path: Path, registry: RegistryServer, needs_llama_server: None
) -> None:
    exported = exporter.export(_COMPOSE.format(name=f"{registry.address}/me/tiny:v1"))
    (pull,) = exported.pod("dmrc-model-llm")["initContainers"]
    weights, port = tmp_path / "weights", free_port()
    with ExitStack() as stack:
        puller, gateway = stack.enter_context(temporary_dmrc()), stack.enter_context(temporary_dmrc())
        puller.environment["DMRC_HOME"] = str(weights / "dmrc")
        for _ in range(2):  # a Pod that starts again in the same volume
            puller.ok(*(word.replace("/weights/", f"{weights}/") for word in pull["args"]))
        stack.enter_context(_engine(exported, weights, port))
        url = stack.enter_context(_gateway(exported, gateway, tmp_path, port))

        variables = exported.secret("web-variables")
        answer = _ask(url, variables["OPENAI_API_KEY"])
        assert answer.status == 200, answer.data
        assert json.loads(answer.data)["usage"]["completion_tokens"] == 4
        assert _ask(url, "sk-dmrc-stranger").status == 401
        assert _ask(url, exported.secret("dmrc-engine-keys")["ENGINE_KEY_LLM"]).status == 401
        assert _ask(f"http://127.0.0.1:{port}/v1", "another").status == 401  # the engine hears the gateway alone

        (row,) = json.loads(gateway.ok("requests", "--json", "--status", "200"))
        assert (row["project"], row["service"]) == ("shop", "web")
        shown = gateway.ok("requests", "show", row["id"])
        assert "hello" in shown  # its secrets are known, so that the rest is recorded
        assert "hunter2-of-web" not in shown


def test_what_a_registry_says_of_a_model_is_enough(exporter: Exporter, registry: RegistryServer) -> None:
    compose = _COMPOSE.format(name=f"{registry.address}/me/tiny:v1")
    here = exporter.export(compose).content()

    with temporary_dmrc() as empty:
        empty.environment["PATH"] = exporter.dmrc.environment["PATH"]
        there = Exporter(empty, exporter.directory, exporter.digest).export(compose, "--remote").content()
        assert empty.ok("list", "--json").strip() == "[]"

    assert there == here
    assert "--weights image needs" in exporter.refused(compose, "--remote", "--weights", "image", "--models-in", "x/y")


def test_the_gateway_tells_which_key_it_misses(exporter: Exporter, tmp_path: Path, registry: RegistryServer) -> None:
    exported = exporter.export(_COMPOSE.format(name=f"{registry.address}/me/tiny:v1"))
    file = tmp_path / "project.json"
    file.write_text(exported.one("ConfigMap", "dmrc-gateway-project")["data"]["project.json"])

    done = exporter.dmrc.run("serve", "--project", file)

    assert done.returncode != 0
    assert "ENGINE_KEY_LLM" in done.stderr
    assert done.stderr.count("\n") == 1
