"""What the record says of an answer, in whatever dialect it was asked: when it began, how fast, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.gateway.conftest import MODEL, Gateway

QUESTION = [{"role": "user", "content": "Tell me a long story."}]
Recorded = Callable[[str], dict[str, Any]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "limit", "ending"),
    [
        ("/v1/responses", {"input": "Tell me a long story.", "max_output_tokens": 16}, "length"),
        ("/anthropic/v1/messages", {"messages": QUESTION, "max_tokens": 16}, "max_tokens"),
        ("/api/chat", {"messages": QUESTION, "options": {"num_predict": 16}}, "length"),
        ("/v1/chat/completions", {"messages": QUESTION, "max_tokens": 16}, "length"),
    ],
)
def test_every_dialect_has_first_token_rate_and_ending(
    gateway: Gateway, recorded: Recorded, path: str, limit: dict[str, object], ending: str, stream: bool
) -> None:
    """Issue 16, B16: the Responses and Anthropic had neither first token nor rate."""
    wish = {"model": MODEL, "stream": stream, **limit}
    # As the service whose declaration takes the likeliest token: by chance the story may be a short one.
    answer = httpx.post(f"{gateway.url}{path}", json=wish, headers={"x-api-key": gateway.keys["web"]}, timeout=60)

    record = recorded(answer.headers["x-dmrc-exchange-id"])

    assert (answer.status_code, record["finish_reason"], record["completion_tokens"]) == (200, ending, 16)
    assert 0 < record["first_token_ms"] < record["total_ms"]
    assert record["completion_tokens_per_second"] > 0


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        ("/api/embeddings", {"model": "local/embedder", "prompt": "whales"}),
        ("/api/embed", {"model": "local/embedder", "input": "whales"}),
        ("/anthropic/v1/messages/count_tokens", {"model": MODEL, "messages": QUESTION}),
    ],
)
def test_what_answers_with_no_words_has_the_tokens_of_its_prompt(
    gateway: Gateway, recorded: Recorded, path: str, wish: dict[str, object]
) -> None:
    answer = httpx.post(f"{gateway.url}{path}", json=wish, timeout=60)

    record = recorded(answer.headers["x-dmrc-exchange-id"])

    assert answer.status_code == 200, answer.text
    assert record["prompt_tokens"] > 0


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        ("/v1/chat/completions", {"messages": QUESTION, "max_tokens": 400, "ignore_eos": True}),
        ("/v1/completions", {"prompt": "Once", "max_tokens": 400, "ignore_eos": True}),
        ("/v1/responses", {"input": "Tell me a long story.", "max_output_tokens": 400, "ignore_eos": True}),
        ("/anthropic/v1/messages", {"messages": QUESTION, "max_tokens": 400, "ignore_eos": True}),
        ("/api/chat", {"messages": QUESTION, "options": {"num_predict": 400, "temperature": 0}}),
        ("/api/generate", {"prompt": "Tell me a long story.", "options": {"num_predict": 400, "temperature": 0}}),
    ],
)
def test_a_stream_that_its_caller_ended_has_tokens_and_time(
    gateway: Gateway, recorded: Recorded, path: str, wish: dict[str, object]
) -> None:
    """Issue 16, B15: whoever counts use per service counted nothing for it, and Anthropic's streams begin with 0."""
    wish = {"model": MODEL, "stream": True, **wish}
    with httpx.stream("POST", f"{gateway.url}{path}", json=wish, timeout=60) as answer:
        words = (
            line
            for line in answer.iter_lines()
            if any(name in line for name in ("delta", "text", "content", "respons"))
        )
        for number, _ in enumerate(words):
            if number == 20:
                break

    record = recorded(answer.headers["x-dmrc-exchange-id"])

    assert record["client_disconnected"]
    assert record["completion_tokens"] >= 4
    assert record["annotations"] == {"estimated": "completion_tokens"}
    assert record["total_ms"] > record["first_token_ms"] > 0
    (line,) = (one for one in gateway.dmrc.ok("requests").splitlines() if str(record["id"])[-8:] in one)
    assert f"→~{record['completion_tokens']} " in line
    assert "200×" in line
