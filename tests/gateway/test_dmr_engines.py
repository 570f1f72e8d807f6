"""Docker Model Runner's routes about engines and runners, on a daemon with a real engine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import urllib3

from dmrc import __version__
from tests.dmrc_command import Dmrc
from tests.polling import eventually

pytestmark = pytest.mark.engine


def _ask(dmrc: Dmrc, method: str, path: str, body: object = None, **headers: str) -> tuple[int, object]:
    url = f"http://127.0.0.1:{dmrc.port}{path}"
    answer = urllib3.request(method, url, json=body, headers=headers, retries=False, timeout=60)
    return answer.status, json.loads(answer.data)


def test_what_runs_is_told_and_unloaded(dmrc: Dmrc, gguf: Path) -> None:
    dmrc.ok("package", "--gguf", gguf, "--context-size", "64", "ai/tiny")
    dmrc.ok("run", "--keep-alive", "90", "ai/tiny", "Hi")

    status, rows = _ask(dmrc, "GET", "/engines/ps")
    backends = _ask(dmrc, "GET", "/engines/status")[1]

    assert status == 200
    assert isinstance(rows, list)
    used = rows[0].pop("last_used")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:.]+Z", used)
    assert rows == [
        {
            "backend_name": "llama.cpp",
            "model_name": "docker.io/ai/tiny:latest",
            "mode": "completion",
            "keep_alive": "1m30s",
        }
    ]
    assert isinstance(backends, dict)
    assert backends["llama.cpp"].startswith("Running: ")
    assert _ask(dmrc, "GET", "/version") == (200, {"version": __version__})
    assert _ask(dmrc, "POST", "/engines/unload", {"models": ["ai/tiny"], "backend": "vllm"})[1] == {
        "unloaded_runners": 0
    }
    assert _ask(dmrc, "POST", "/engines/unload", {"models": ["tiny"]}) == (200, {"unloaded_runners": 1})
    assert _ask(dmrc, "GET", "/engines/ps")[1] == []
    assert _ask(dmrc, "POST", "/engines/unload", {"all": True})[1] == {"unloaded_runners": 0}
    assert _ask(dmrc, "POST", "/engines/unload", {"models": ["ai/none"]}) == (200, {"unloaded_runners": 0})
    assert _ask(dmrc, "POST", "/engines/unload", ["ai/tiny"])[0] == 422


def test_the_disk_is_counted_as_by_the_command(dmrc: Dmrc, gguf: Path) -> None:
    dmrc.ok("package", "--gguf", gguf, "ai/tiny")
    dmrc.ok("configure", "ai/tiny", "--parallel", "2")

    status, usage = _ask(dmrc, "GET", "/engines/df")

    counted = json.loads(dmrc.ok("df", "--json"))
    assert status == 200
    assert usage == {name: counted[name] for name in ("models_disk_usage", "default_backend_disk_usage")}


def test_a_page_and_an_unknown_key_learn_nothing(dmrc: Dmrc, gguf: Path) -> None:
    dmrc.ok("package", "--gguf", gguf, "ai/tiny")
    dmrc.ok("configure", "ai/tiny", "--parallel", "2")

    for method, path in (("GET", "ps"), ("GET", "df"), ("GET", "status"), ("POST", "unload")):
        foreign = _ask(dmrc, method, f"/engines/{path}", {"all": True}, Origin="https://evil.example.com")
        unknown = _ask(dmrc, method, f"/engines/{path}", {"all": True}, Authorization="Bearer sk-dmrc-nobody")
        assert (foreign[0], unknown[0]) == (403, 401)


def test_engines_are_there_or_say_why_they_are_not(dmrc: Dmrc, gguf: Path) -> None:
    dmrc.ok("package", "--gguf", gguf, "ai/tiny")
    dmrc.ok("configure", "ai/tiny", "--parallel", "1")

    assert _ask(dmrc, "POST", "/engines/install-backend", {"backend": "mlx"})[0] == 404
    status, missing = _ask(dmrc, "POST", "/engines/install-backend", {"backend": "vllm"})
    assert status == 501
    assert "engine 'vllm' is not installed: Not Installed: pip install vllm" in missing["error"]["message"]
    assert _ask(dmrc, "POST", "/engines/install-backend", {})[0] == 422
    status, refused = _ask(dmrc, "POST", "/engines/uninstall-backend", {"backend": "llama.cpp"})
    assert (status, refused["error"]["message"]) == (
        501,
        "engine 'llama.cpp' is a part of dmrc. Uninstall it with pip",
    )
    url = f"http://127.0.0.1:{dmrc.port}/engines/install-backend"
    installed = urllib3.request("POST", url, json={"backend": "llama.cpp", "version": "latest"})
    assert (installed.status, installed.data) == (200, b"")


def test_the_logs_are_told_and_followed(dmrc: Dmrc, gguf: Path) -> None:
    dmrc.ok("package", "--gguf", gguf, "--context-size", "64", "ai/tiny")
    dmrc.ok("run", "ai/tiny", "Hi")
    url = f"http://127.0.0.1:{dmrc.port}/logs"

    def told() -> urllib3.BaseHTTPResponse | None:
        found = urllib3.request("GET", url)
        return found if "stop processing" in found.data.decode() else None

    whole = eventually(told, "the engine's line, which it writes after its answer")
    own = urllib3.request("GET", f"{url}?no-engines=true").data.decode()
    with urllib3.PoolManager().request("GET", f"{url}?follow=true&no-engines=1", preload_content=False) as followed:
        dmrc.ok("unload", "--all")
        said = ""
        while "ended: unloaded" not in said:
            said += followed.read1().decode()

    assert whole.headers["content-type"].startswith("text/plain")
    assert "is ready after" in own
    assert "stop processing" not in own
    assert said.startswith(own)
