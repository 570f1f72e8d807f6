"""Docker Model Runner's routes under /models, on a daemon, a real registry and a real engine."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc
from tests.polling import eventually
from tests.registry import RegistryServer
from tests.sources.misbehaving import Misbehaving, serve, stall
from tests.tiny_gguf import write_tiny_llama

Line = dict[str, object]


class Daemon:
    """A running daemon, and an HTTP client of it."""

    def __init__(self, dmrc: Dmrc) -> None:
        self.dmrc = dmrc

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.dmrc.port, timeout=60)
        try:
            sent = body if body is None or isinstance(body, bytes) else json.dumps(body)
            connection.request(method, path, sent, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def lines(self, method: str, path: str, body: object = None) -> list[Line]:
        status, data = self.ask(method, path, body)
        assert status == 200, data
        return [json.loads(line) for line in data.splitlines()]

    def error(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str]:
        status, data = self.ask(method, path, body, **headers)
        return status, json.loads(data)["error"]["message"]

    def load(self, archive: bytes) -> list[Line]:
        return self.lines("POST", "/models/load", archive)

    def refuses(self, archive: bytes) -> tuple[int, str]:
        return self.error("POST", "/models/load", archive)


@pytest.fixture
def daemon(dmrc: Dmrc) -> Iterator[Daemon]:
    with subprocess.Popen([dmrc.program, "serve"], env=dmrc.environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "dmrc serves" not in (line := process.stderr.readline()):
            assert line, "the daemon ended"
        yield Daemon(dmrc)
        process.terminate()
        assert "Traceback" not in process.communicate(timeout=30)[1]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "tiny.gguf")


def test_create_pulls_and_tells_of_each_layer(daemon: Daemon, registry: RegistryServer, tiny: Path) -> None:
    digest = registry.push_model("ai/tiny:v1", tiny)
    name, size = f"{registry.address}/ai/tiny:v1", tiny.stat().st_size

    first = daemon.lines("POST", "/models/create", {"from": name})
    again = daemon.lines("POST", "/models/create", {"from": name})

    *progress, last = first
    assert {line["type"] for line in progress} == {"progress"}
    assert {line["mode"] for line in first} == {"pull"}
    assert {line["total"] for line in progress} == {size}
    assert progress[-1]["layer"]["current"] == progress[-1]["layer"]["size"] == size
    assert (last["type"], last["message"]) == ("success", "Model pulled successfully")
    assert again[-1]["type"] == "success"
    assert re.fullmatch(r"Using cached model: 297\.\d\d kB", again[-1]["message"])
    status, shown = daemon.ask("GET", f"/models/{name}")
    assert status == 200
    assert json.loads(shown)["id"] == digest
    assert json.loads(daemon.ask("GET", "/models")[1]) == [json.loads(shown)]


def test_tag_push_and_remove(daemon: Daemon, registry: RegistryServer, tiny: Path) -> None:
    digest = daemon.dmrc.ok("package", "--gguf", tiny, "ai/tiny").strip()
    target = f"{registry.address}/me/tiny"

    status, answer = daemon.ask("POST", f"/models/ai/tiny/tag?repo={target}&tag=v1")
    pushed = daemon.lines("POST", f"/models/{target}:v1/push")
    removed = daemon.lines("DELETE", f"/models/{target}:v1")

    assert status == 201
    assert json.loads(answer)["target"] == f"{target}:v1"
    assert (pushed[-1]["type"], pushed[-1]["message"]) == ("success", "Model pushed successfully")
    assert {line["mode"] for line in pushed} == {"push"}
    assert removed == [[{"Untagged": f"{target}:v1"}]]
    assert daemon.dmrc.ok("pull", f"{target}:v1").strip() == digest
    assert daemon.error("DELETE", f"/models/{digest[7:19]}")[0] == 409
    gone = daemon.lines("DELETE", f"/models/{digest[7:19]}?force=true")
    assert gone == [[*({"Untagged": tag} for tag in (f"{target}:v1", "docker.io/ai/tiny:latest")), {"Deleted": digest}]]
    assert json.loads(daemon.ask("GET", "/models")[1]) == []


def test_what_cannot_be_begun_has_a_status(
    daemon: Daemon, registry: RegistryServer, registry_with_login: RegistryServer
) -> None:
    create = ("POST", "/models/create")

    missing = daemon.error(*create, {"from": f"{registry.address}/ai/nothing"})
    closed = daemon.error(*create, {"from": f"{registry_with_login.address}/ai/tiny"})

    assert missing[0] == 404
    assert f"'{registry.address}/ai/nothing'" in missing[1]
    assert closed[0] == 401
    assert f"docker login {registry_with_login.address}" in closed[1]
    assert daemon.error(*create, {"from": "a:b:c"})[0] == 400
    assert daemon.error(*create, {"form": "ai/tiny"}) == (
        400,
        '\'from\' is missing from the body. Send {"from": "ai/smollm2"}',
    )
    assert daemon.error(*create, ["ai/tiny"])[0] == 400
    assert daemon.error(*create)[0] == 400
    assert daemon.error("GET", "/models/ai/nothing")[0] == 404
    assert daemon.error("DELETE", "/models/ai/nothing")[0] == 404
    assert daemon.error("POST", "/models/ai/nothing/push")[0] == 404
    assert daemon.error("POST", "/models/ai/nothing/tag?repo=x&tag=y")[0] == 404
    assert daemon.error("POST", "/models/ai/nothing/tag?repo=x")[0] == 400
    assert daemon.error("POST", "/models/ai/nothing/paint") == (404, 'unknown action "paint"')
    assert daemon.error(*create, {"from": "ai/tiny"}, Origin="https://evil.example.com")[0] == 403


def test_what_fails_on_the_way_is_the_last_line(daemon: Daemon) -> None:
    def weights(handler: object) -> None:
        handler.send_error(403)  # type: ignore[attr-defined]

    with Misbehaving(serve(weights=weights)) as server:
        lines = daemon.lines("POST", "/models/create", {"from": f"{server.address}/a/b"})

    assert [line["type"] for line in lines] == ["progress"] * (len(lines) - 1) + ["error"]
    assert f"model '{server.address}/a/b' cannot be pulled" in lines[-1]["message"]
    assert json.loads(daemon.ask("GET", "/models")[1]) == []


def test_a_caller_that_goes_away_ends_its_pull(daemon: Daemon) -> None:
    begun, over = threading.Event(), threading.Event()

    def weights(handler: object) -> None:
        begun.set()
        stall(handler)
        over.set()

    with Misbehaving(serve(weights=weights)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", daemon.dmrc.port, timeout=60)
        connection.request("POST", "/models/create", json.dumps({"from": f"{server.address}/a/b"}))
        answer = connection.getresponse()
        assert begun.wait(20)
        started = time.monotonic()
        answer.close()
        connection.close()

        assert over.wait(20)
        assert time.monotonic() - started < 10


@pytest.mark.engine
def test_a_model_that_runs_is_unloaded_and_removed(daemon: Daemon, tiny: Path) -> None:
    """As by Docker Model Runner, where a script removes what it has just asked."""
    daemon.dmrc.ok("package", "--gguf", tiny, "--context-size", "64", "ai/tiny")
    daemon.dmrc.ok("run", "ai/tiny", "Hi")

    assert daemon.lines("DELETE", "/models/ai/tiny")[0][0] == {"Untagged": "docker.io/ai/tiny:latest"}
    assert json.loads(daemon.dmrc.ok("ps", "--json")) == []


def test_a_service_manages_no_models(daemon: Daemon, tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        "name: shop\nservices:\n  web: {image: none, models: [m]}\nmodels:\n  m: {model: ai/tiny}\n"
    )
    daemon.dmrc.ok("package", "--gguf", tiny, "ai/tiny")
    key = json.loads(daemon.dmrc.ok("env", "web", "--format", "json", cwd=tmp_path))["OPENAI_API_KEY"]

    for method, path in (("GET", "/models"), ("DELETE", "/models/ai/tiny"), ("POST", "/models/create")):
        status, message = daemon.error(method, path, Authorization=f"Bearer {key}")
        assert (status, "a service may use its models, and not manage" in message) == (403, True)
    assert daemon.ask("GET", "/models")[0] == 200


def test_a_model_goes_into_one_file_and_comes_back_the_same(daemon: Daemon, tiny: Path, tmp_path: Path) -> None:
    digest = daemon.dmrc.ok("package", "--gguf", tiny, "--license", __file__, "ai/tiny").strip()

    status, archive = daemon.ask("GET", "/models/ai/tiny/export")
    (tmp_path / "tiny.tar").write_bytes(archive)
    names = subprocess.run(["tar", "-tf", tmp_path / "tiny.tar"], check=True, capture_output=True, text=True).stdout
    daemon.dmrc.ok("rm", "ai/tiny")
    daemon.dmrc.ok("prune")
    lines = daemon.load(archive)

    assert status == 200
    *blobs, manifest = names.split()
    assert manifest == "manifest.json"
    assert len(blobs) == 3
    assert all(re.fullmatch(r"blobs/sha256/[0-9a-f]{64}", name) for name in blobs)
    assert (lines[-1]["type"], lines[-1]["message"]) == ("success", "Model loaded successfully")
    assert {line["layer"]["id"][7:] for line in lines[:-1]} == {name.rpartition("/")[2] for name in blobs}
    (model,) = json.loads(daemon.ask("GET", "/models")[1])
    assert (model["id"], model["tags"]) == (digest, [])
    daemon.dmrc.ok("verify")
    assert daemon.load(archive)[-1]["type"] == "success", "a second time is as good"
    assert daemon.error("GET", "/models/ai/none/export")[0] == 404


def test_many_who_read_an_export_slowly_hold_one_file_each_until_they_go(daemon: Daemon, tmp_path: Path) -> None:
    large = write_tiny_llama(tmp_path / "large.gguf")
    large.write_bytes(large.read_bytes() + bytes(16 << 20))
    daemon.dmrc.ok("package", "--gguf", large, "--license", __file__, "ai/large")
    process = daemon.dmrc.daemon()
    before, memory = process.num_fds(), process.memory_info().rss

    with ExitStack() as stack:
        for _ in range(60):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.dmrc.port), timeout=20))
            connection.sendall(b"GET /models/ai/large/export HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert process.num_fds() - before <= 2 * 60 + 10
        assert process.memory_info().rss - memory < 60 << 20

    eventually(lambda: process.num_fds() <= before + 5, seconds=10)


def test_what_is_no_archive_of_a_model_leaves_none(daemon: Daemon, tiny: Path) -> None:
    daemon.dmrc.ok("package", "--gguf", tiny, "ai/tiny")
    archive = bytearray(daemon.ask("GET", "/models/ai/tiny/export")[1])
    daemon.dmrc.ok("rm", "ai/tiny")
    daemon.dmrc.ok("prune")
    cut, other = bytes(archive[: len(archive) // 2]), archive.copy()
    other[len(other) // 2] ^= 1

    assert daemon.refuses(cut) == (400, "the archive cannot be read: unexpected end of data")
    status, message = daemon.refuses(bytes(other))
    assert (status, "came with other bytes" in message) == (502, True)
    assert daemon.refuses(b"nothing like it")[0] == 400
    assert daemon.refuses(bytes(1024)) == (400, "the archive has no manifest.json of a model")
    assert json.loads(daemon.ask("GET", "/models")[1]) == []


def test_a_variant_is_made_and_all_models_are_removed(daemon: Daemon, tiny: Path) -> None:
    daemon.dmrc.ok("package", "--gguf", tiny, "ai/tiny")

    status, told = daemon.ask("POST", "/models/ai/tiny/repackage", {"target": "ai/tiny:short", "context_size": 64})
    (shown,) = daemon.lines("GET", "/models/ai/tiny:short")

    assert (status, json.loads(told)) == (
        201,
        {
            "message": 'Model repackaged successfully as "ai/tiny:short"',
            "source": "ai/tiny",
            "target": "ai/tiny:short",
        },
    )
    assert shown["config"]["context_size"] == 64
    assert daemon.error("POST", "/models/ai/none/repackage", {"target": "x"})[0] == 404
    assert daemon.error("POST", "/models/ai/tiny/repackage", {})[0] == 422
    assert daemon.error("POST", "/models/ai/tiny/repackage", {"target": "x", "context_size": "64"})[0] == 422
    assert daemon.ask("DELETE", "/models/purge") == (200, b"")
    assert json.loads(daemon.ask("GET", "/models")[1]) == []


def test_a_model_is_looked_at_where_it_is_and_stays_there(daemon: Daemon, registry: RegistryServer, tiny: Path) -> None:
    digest = registry.push_model("ai/tiny:v1", tiny)
    name = f"{registry.address}/ai/tiny:v1"

    (looked,) = daemon.lines("GET", f"/models/{name}?remote=true")
    inspected = json.loads(daemon.dmrc.ok("inspect", "--remote", name))
    shown = daemon.dmrc.ok("show", "-r", name)
    none = daemon.error("GET", f"/models/{registry.address}/ai/none?remote=1")
    here = json.loads(daemon.ask("GET", "/models")[1])
    daemon.dmrc.ok("pull", name)
    (pulled,) = daemon.lines("GET", f"/models/{name}")

    assert (looked["id"], looked["tags"]) == (digest, [])
    assert looked == inspected
    assert {**pulled, "tags": [], "created": looked["created"]} == looked
    assert digest in shown
    assert none[0] == 404
    assert here == []
    refused = daemon.dmrc.run("inspect", "--remote", "hf.co/org/repository")
    assert (refused.returncode, "Pull it first" in refused.stderr) == (2, True)
