"""Which recorded requests can be sent again, and as what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dmrc.comparison.sendable import LeftOut, sendable
from tests.comparison.exchanges import exchange, sent


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"request": {"user": "[redacted]"}}, "has something masked"),
        ({"request": {"x": "[media image/png, 3 bytes, sha256:00]"}}, "has pictures or sounds, which are not recorded"),
        ({"request_truncated": True}, "is longer than is recorded"),
        ({"response_truncated": True}, "has a longer answer than is recorded"),
        ({"request_body": b""}, "was recorded without content"),
        ({"status": 500}, "it failed"),
        ({"error_type": "server_error"}, "it failed"),
        ({"client_disconnected": True}, "was cancelled by its caller"),
        ({"annotations": {"replayed": "api.jsonl:3"}}, "was answered from a recording"),
        ({"annotations": {"fault": "rate_limit"}}, "met a fault that was made on purpose"),
        ({"operation": "embedding"}, "not a chat or a completion"),
        ({"request_headers": {"x-preload-only": "true"}}, "not a chat or a completion"),
        ({"model_reference": None}, "was answered by a plugin"),
        (
            {"dialect": "ollama", "path": "/api/chat", "request_body": b'{"model":"llm"}'},
            "not a chat or a completion",
        ),
        (
            {
                "operation": "response",
                "path": "/v1/responses",
                "request_body": b'{"model":"llm","input":"And?","previous_response_id":"resp_1"}',
            },
            "continues a response that only its project can read",
        ),
    ],
)
def test_what_is_not_on_record_as_it_was_is_left_out_with_the_reason(changes: dict[str, Any], why: str) -> None:
    found = sendable(exchange(**changes))

    assert isinstance(found, LeftOut), found
    assert found.why == why


def test_a_masked_request_is_sent_where_that_is_wanted() -> None:
    masked = exchange(request={"messages": [{"role": "user", "content": "My key is [redacted]."}]})

    assert isinstance(sendable(masked), LeftOut)
    assert b"[redacted]" in sendable(masked, with_redacted=True).body("other")


def test_only_the_model_is_replaced_in_the_body() -> None:
    one = sent(exchange(request={"temperature": 0.3, "stop": ["\u20ac"], "seed": 18446744073709551615}))

    assert json.loads(one.body("diff-model")) == {**one.document, "model": "diff-model"}


def test_a_temperature_goes_where_the_dialect_has_it() -> None:
    openai = sent(exchange())
    ollama = sent(
        exchange(
            dialect="ollama",
            path="/api/chat",
            request_body=b'{"model":"m","messages":[{"role":"user","content":"x"}],"options":{"seed":1}}',
        )
    )

    assert json.loads(openai.body("m", 0.5))["temperature"] == 0.5
    assert json.loads(ollama.body("m", 0.5))["options"] == {"seed": 1, "temperature": 0.5}


@pytest.mark.parametrize(
    ("path", "again"),
    [
        ("/engines/v1/chat/completions", "/engines/v1/chat/completions"),
        ("/engines/llama.cpp/v1/chat/completions", "/engines/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
    ],
)
def test_a_route_that_names_an_engine_becomes_that_of_any(path: str, again: str) -> None:
    assert sent(exchange(path=path)).path == again


def test_nothing_but_what_a_body_needs_is_sent_of_the_headers() -> None:
    then = exchange(request_headers={"anthropic-version": "2023-06-01", "x-session-id": "s", "cookie": "c"})

    assert sent(then).headers() == {
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
        "user-agent": "dmrc-diff",
        "x-dmrc-diff": then.id,
    }
