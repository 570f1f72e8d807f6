"""The HTTP client of the JDK, on which langchain4j and Spring stand, with the real model: every dialect and streams."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.gateway.conftest import MODEL, Gateway

_SCRIPT = Path(__file__).with_name("JavaClient.java")
_MESSAGES = [{"role": "user", "content": "Say hello."}]
_CHAT = {"model": MODEL, "messages": _MESSAGES, "max_tokens": 8}
_CALLS: dict[str, dict[str, object]] = {
    "/v1/chat/completions": _CHAT,
    "/engines/v1/chat/completions": {**_CHAT, "stream": True},
    "/v1/completions": {"model": MODEL, "prompt": "Hello", "max_tokens": 8, "user": "chunked"},
    "/v1/embeddings": {"model": "local/embedder", "input": "Hello"},
    "/v1/responses": {"model": MODEL, "input": "Say hello.", "max_output_tokens": 16, "stream": True},
    "/anthropic/v1/messages": {**_CHAT, "stream": True},
    "/v1/messages": _CHAT,
    "/api/chat": {"model": MODEL, "messages": _MESSAGES, "options": {"num_predict": 8}},
    "/api/generate": {"model": MODEL, "prompt": "Hello", "stream": False, "options": {"num_predict": 8}},
    "/api/show": {"model": MODEL},
}


@pytest.mark.java
def test_the_jdks_client_is_answered_on_every_route_whole_and_streamed(gateway: Gateway) -> None:
    arguments = [part for path, body in _CALLS.items() for part in (f"{gateway.url}{path}", json.dumps(body))]
    second = [f"{gateway.url}/v1/models", "", f"{gateway.url}/v1/chat/completions", json.dumps(_CHAT)]

    done = subprocess.run(
        ["java", _SCRIPT, gateway.keys["web"], *arguments, *second], capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    answers = done.stdout.split("\0\n")[:-1]
    assert len(answers) == len(_CALLS) + 2
    for path, answer in zip([*_CALLS, "models", "second turn"], answers, strict=True):
        assert answer.startswith("200 HTTP_1_1\n"), f"{path}: {answer}"
    assert "data: [DONE]" in answers[1]
    assert "event: message_stop" in answers[5]
    assert json.loads(answers[0].partition("\n")[2])["choices"][0]["message"]["content"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_curl_that_offers_http_2_is_answered_and_the_log_has_no_word_of_it(gateway: Gateway) -> None:
    def curl(*arguments: str) -> str:
        command = ["curl", "--silent", "--http2", "--write-out", "\n%{http_code}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    chat = curl(f"{gateway.url}/v1/chat/completions", "--data", json.dumps(_CHAT))
    chunked = curl(
        f"{gateway.url}/v1/chat/completions", "--data", json.dumps(_CHAT), "--header", "transfer-encoding: chunked"
    )
    admin = curl("--unix-socket", str(gateway.dmrc.home / "run" / "admin.sock"), "http://dmrc/load", "--data", "{}")

    assert chat.endswith("\n200"), chat
    assert chunked.endswith("\n200"), chunked
    assert not admin.endswith("\n000")
    log = gateway.dmrc.ok("logs")
    assert "upgrade" not in log.lower()
    assert "WebSocket" not in log
