"""Whatever JSON is sent to whatever route: a fault of the caller is 4xx, in JSON."""

from __future__ import annotations

import http.client
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.gateway.conftest import MODEL, Gateway

_INFERENCE = [
    *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank", "/v1/responses", "/rerank"),
    *("/v1/responses/input_tokens", "/anthropic/v1/messages", "/anthropic/v1/messages/count_tokens", "/v1/messages"),
    *("/api/chat", "/api/generate", "/api/embed", "/api/embeddings"),
]
_MANAGING = [
    *("/engines/_configure", "/engines/llama.cpp/_configure", "/engines/unload", "/engines/install-backend"),
    *("/models/create", "/models/load", "/models/x/tag", "/models/x/repackage", "/models/x/push"),
    *("/api/show", "/api/pull", "/api/copy", "/api/delete"),
]
_FIELDS = [
    *("messages", "input", "prompt", "system", "tools", "tool_choice", "stream", "options", "format", "keep_alive"),
    *("images", "max_tokens", "temperature", "response_format", "stop", "mode", "context-size", "runtime-flags"),
    *("raw-runtime-flags", "llamacpp", "name", "from", "source", "destination", "backend", "all", "models", "thinking"),
    *("tag", "repo", "target", "context_size", "query", "documents", "instructions", "text", "reasoning", "n"),
]
_LEAVES = (
    some.none() | some.booleans() | some.integers() | some.floats() | some.sampled_from(["", "x", "a b", "\ud800", "/"])
)
_KEYS = some.sampled_from(["type", "role", "content", "text", "source", "function", "name", "arguments", "url", "data"])

_VALUES = some.recursive(
    _LEAVES, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(_KEYS, inner, max_size=3), max_leaves=8
)
_BODIES = ["", "[]", "{", "null", "1", '"x"', "{}", '{"model": []}', '{"model": {}}', "\ud800", "{" * 2000]
_GOING_OUT = ("/models/create", "/api/pull", "/models/x/push")
_DOCUMENTS = some.dictionaries(some.sampled_from(_FIELDS), _VALUES, max_size=4)


def status_of(gateway: Gateway, path: str, body: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.dmrc.port, timeout=60)
    connection.request("POST" if path != "/api/delete" else "DELETE", path, body.encode("utf-8", "surrogatepass"))
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, content


@pytest.mark.parametrize("path", [*_MANAGING, *_INFERENCE, "/ui/api/engines/_configure"])
@pytest.mark.parametrize("body", _BODIES)
def test_what_is_no_request_is_refused_in_json(gateway: Gateway, path: str, body: str) -> None:
    status, content = status_of(gateway, path, body)

    assert status < 500, content
    if status >= 400:
        assert json.loads(content)


@pytest.mark.parametrize(
    "document",
    [
        {"model": MODEL, "mode": []},
        {"model": MODEL, "mode": {}},
        {"model": MODEL, "runtime-flags": {}},
        {"model": MODEL, "raw-runtime-flags": "'"},
        {"model": MODEL, "llamacpp": []},
        {"model": MODEL, "keep_alive": []},
    ],
    ids=json.dumps,
)
def test_a_configuration_that_cannot_be_meant_is_refused(gateway: Gateway, document: dict[str, object]) -> None:
    status, content = status_of(gateway, "/engines/_configure", json.dumps(document))

    assert status == 422, content
    assert json.loads(content)["error"]["message"]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=some.sampled_from(_INFERENCE), document=_DOCUMENTS)
def test_no_document_makes_a_request_of_an_unknown_model_a_fault_of_ours(
    gateway: Gateway, path: str, document: dict[str, object]
) -> None:
    status, content = status_of(gateway, path, json.dumps({"model": "nope", **document}))

    assert 400 <= status < 500, content


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=some.sampled_from([each for each in _MANAGING if each not in _GOING_OUT]), document=_DOCUMENTS)
def test_no_document_makes_managing_a_fault_of_ours(gateway: Gateway, path: str, document: dict[str, object]) -> None:
    status, content = status_of(gateway, path, json.dumps({"model": "nope", **document}))

    assert status < 500, content
