"""Methods and paths that no route has, `HEAD`, `OPTIONS`, and what stands in the head of every answer."""

from __future__ import annotations

import http.client
import json
import urllib.parse

import pytest

from tests.gateway.conftest import MODEL, Gateway
from tests.gateway.listening import ask as ask_bytes

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}
OLLAMAS = {**CHAT, "options": {"num_predict": 4}}


def ask(
    gateway: Gateway, method: str, path: str, body: object = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.dmrc.port, timeout=60)
    connection.request(method, path, None if body is None else json.dumps(body))
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("GET", "/engines/v1/embeddings", "POST"),
        ("GET", "/engines/llama.cpp/v1/completions", "POST"),
        ("GET", "/rerank", "POST"),
        ("PUT", "/anthropic/v1/messages", "POST"),
        ("GET", "/v1/messages", "POST"),
        ("DELETE", "/api/chat", "POST"),
        ("GET", "/responses", "POST"),
        ("POST", "/v1/responses/resp_1", "GET, HEAD, DELETE"),
        ("POST", "/v1/responses/resp_1/input_items", "GET, HEAD"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("POST", "/api/tags", "GET, HEAD"),
        ("GET", "/engines/unload", "POST"),
        ("DELETE", "/engines/_configure", "GET, HEAD, POST"),
        ("POST", "/metrics", "GET, HEAD"),
        ("HEAD", "/v1/chat/completions", "POST"),
    ],
)
def test_another_method_is_refused_with_those_that_there_are(
    gateway: Gateway, method: str, path: str, allow: str
) -> None:
    answer, body = ask(gateway, method, path)

    assert answer.status == 405
    assert answer.headers["allow"] == allow
    if method != "HEAD":
        document = json.loads(body)
        told = document["error"] if isinstance(document["error"], str) else document["error"]["message"]
        assert f"takes no {method}" in told
        assert isinstance(document["error"], str) == path.startswith("/api/")
        assert (document.get("type") == "error") == ("/messages" in path)


@pytest.mark.parametrize(
    "path", ["/", "/v1/models", "/engines/v1/models", "/models", "/api/version", "/metrics", "/logs?follow=1"]
)
def test_head_says_what_get_says_without_its_body(gateway: Gateway, path: str) -> None:
    head = ask_bytes(
        gateway.dmrc.port, f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    )

    first, _, body = head.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert body == b""
    if "follow" not in path:
        answer, content = ask(gateway, "GET", path)
        assert f"\r\ncontent-type: {answer.headers['content-type']}".encode() in first
        if "content-length" in answer.headers and path != "/metrics":
            assert f"\r\ncontent-length: {len(content)}\r\n".encode() in first + b"\r\n"


@pytest.mark.parametrize("hosts", [("localhost", "evil.example"), ("evil.example", "localhost")])
def test_every_name_in_host_must_be_ours(gateway: Gateway, hosts: tuple[str, str]) -> None:
    lines = "".join(f"Host: {host}\r\n" for host in hosts)

    answer = ask_bytes(gateway.dmrc.port, f"GET /v1/models HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 403 ")


def test_post_and_options_of_the_root_are_as_in_docker_model_runner(gateway: Gateway) -> None:
    for method in ("POST", "OPTIONS", "GET"):
        answer, body = ask(gateway, method, "/")
        assert (answer.status, body) == (200, b"dmrc is running\n")


def test_options_tells_the_methods(gateway: Gateway) -> None:
    answer, body = ask(gateway, "OPTIONS", "/v1/chat/completions")
    other, _ = ask(gateway, "OPTIONS", "/models")

    assert (answer.status, body, answer.headers["allow"]) == (204, b"", "POST")
    assert (other.status, other.headers["allow"]) == (204, "GET, HEAD")
    assert ask(gateway, "OPTIONS", "/nothing")[0].status == 404


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions/", "//engines/v1/chat/completions//", "/anthropic/v1/messages/", "/api/chat/"]
)
def test_a_slash_at_the_end_changes_nothing(gateway: Gateway, path: str) -> None:
    answer, body = ask(gateway, "POST", path, {**(OLLAMAS if path.startswith("/api/") else CHAT), "stream": False})

    assert answer.status == 200, body


def test_a_slash_at_the_end_of_other_routes_changes_nothing_either(gateway: Gateway) -> None:
    for path in ("/v1/models/", "/models/", "/api/tags/", "/metrics/", "/engines/status/"):
        assert ask(gateway, "GET", path)[0].status == 200, path


@pytest.mark.parametrize(
    "path",
    ["/api/create", "/api/push", "/v1/files", "/anthropic/v1/files", "/anthropic/v1/messages/batches", "/v1/conv"],
)
def test_what_dmrc_does_not_do_is_not_taken_for_something_else(gateway: Gateway, path: str) -> None:
    """`POST /api/push` was asked whether it meant `/api/ps`."""
    answer, body = ask(gateway, "POST", path, CHAT)

    assert answer.status == 404
    assert b"Did you mean" not in body


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/chat/completions", "Did you mean /v1/chat/completions? Set the base URL to http://127.0.0.1:{port}/v1"),
        ("/embeddings", "Did you mean /v1/embeddings? Set the base URL to http://127.0.0.1:{port}/v1"),
        ("/messages", "Did you mean /v1/messages? Set the base URL to http://127.0.0.1:{port}/v1"),
        ("/generate", "Did you mean /api/generate? Set the base URL to http://127.0.0.1:{port}/api"),
        ("/k/sk-dmrc-x/chat/completions", "Did you mean /v1/chat/completions? Add /v1 to the base URL"),
        ("/v1/v1/chat/completions", "Did you mean /v1/chat/completions? The client adds /v1 itself"),
        ("/anthropic/v1/v1/messages", "Did you mean /anthropic/v1/messages? The client adds /v1 itself"),
        ("/openai/v1/chat/completions", "Did you mean /v1/chat/completions?"),
        ("/v1/chat/completons", "Did you mean /v1/chat/completions?"),
        ("/v1/chat/completion", "Did you mean /v1/chat/completions?"),
        ("/api/chats", "Did you mean /api/chat?"),
        ("/engines/nothing/v2/x", "Use /engines/v1"),
    ],
)  # fmt: skip
def test_a_path_that_is_nearly_one_is_told_which(gateway: Gateway, path: str, told: str) -> None:
    answer, body = ask(gateway, "POST", path, CHAT)

    assert answer.status == 404
    document = json.loads(body)
    error = document["error"] if isinstance(document["error"], str) else document["error"]["message"]
    assert told.format(port=gateway.dmrc.port) in error
    assert "sk-dmrc-x" not in error


def test_what_is_like_no_route_gets_no_guess(gateway: Gateway) -> None:
    for path in ("/nothing/of/the/kind", "/" + "a" * 5000, "/favicon.ico"):
        answer, body = ask(gateway, "GET", path)
        assert answer.status == 404
        assert b"Did you mean" not in body
        assert len(body) < 500


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"), ("GET", "/v1/models"), ("GET", "/nothing"), ("PUT", "/v1/models"), ("POST", "/v1/embeddings"),
        ("POST", "/anthropic/v1/messages"), ("GET", "/metrics"), ("GET", "/ui"), ("GET", "/engines/status"),
        ("POST", "/models/create"), ("OPTIONS", "/models"), ("GET", "/ui/api/v1/models"),
    ],
)  # fmt: skip
def test_every_answer_has_an_id_and_may_not_be_used_by_foreign_pages(gateway: Gateway, method: str, path: str) -> None:
    answer, _ = ask(gateway, method, path, CHAT if "messages" in path else {})

    assert answer.headers["x-request-id"]
    assert answer.headers["x-request-id"] == answer.headers.get("x-dmrc-exchange-id", answer.headers["x-request-id"])
    assert answer.headers.get_all("x-content-type-options") == ["nosniff"]
    assert answer.headers.get_all("cross-origin-resource-policy") == ["same-origin"]


def test_what_the_parser_refuses_has_an_id_too(gateway: Gateway) -> None:
    assert b"\r\nx-request-id: " in ask_bytes(gateway.dmrc.port, b"nonsense\r\n\r\n")


def test_both_listeners_of_a_stream_for_http_1_0_get_the_bytes_as_they_are(gateway: Gateway) -> None:
    body = json.dumps({**CHAT, "stream": True})
    sent = f"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n{body}"

    answer = ask_bytes(gateway.dmrc.port, sent.encode())

    head, _, events = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert events.startswith(b"data: {")
    assert events.rstrip().endswith(b"data: [DONE]")


def test_openais_client_finds_the_id_of_the_request(gateway: Gateway) -> None:
    answer = gateway.client().chat.completions.create(**CHAT)

    assert answer._request_id
    assert urllib.parse.quote(answer._request_id) == answer._request_id
