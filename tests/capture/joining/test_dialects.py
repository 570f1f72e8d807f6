"""A turn is known in the words of each dialect, whole and streamed, by what was said and by the ids of calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from tests.capture.joining.talks import Talks

QUESTION, ANSWER = "What is the largest animal of all?", "The blue whale is, and it is 30 metres long.\nIt sings, too."
CALL_ID = "toolu_01A09q90qw90lq917835lq9"
ARGUMENTS = {"city": "Zürich", "unit": "C"}

Body = dict[str, Any]


@dataclass(frozen=True)
class Dialect:
    """How a client of one dialect says it."""

    fields: Body
    """Of the exchange."""
    words: Callable[[], tuple[Body, list[Body]]]
    """The answer in words: whole, and as the events of a stream."""
    call: Callable[[], tuple[Body, list[Body]]]
    """The answer with a call, likewise."""
    asked: Callable[[], Body]
    """The first request."""
    next_turn: Callable[[], Body]
    """The request after the words."""
    result: Callable[[], Body]
    """The request with the result of the call."""


def _chunk(delta: Body) -> Body:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}


def _function(**more: Any) -> Body:
    return {"type": "function", "function": {"name": "weather", "arguments": json.dumps(ARGUMENTS)}, **more}


_ASKED: Body = {"role": "user", "content": QUESTION}
_SYSTEM: Body = {"role": "system", "content": "It is 12:05."}
_LATER: Body = {"role": "system", "content": "It is 12:06."}
_MORE: Body = {"role": "user", "content": "And its tail?"}

OPENAI = Dialect(
    {"dialect": "openai", "operation": "chat"},
    lambda: (
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}}]},
        [_chunk({"role": "assistant"}), _chunk({"content": ANSWER[:9]}), _chunk({"content": ANSWER[9:]})],
    ),
    lambda: (
        {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [_function(id=CALL_ID)]}}]},
        [
            _chunk({"tool_calls": [{"index": 0, "id": CALL_ID, "function": {"name": "weather", "arguments": ""}}]}),
            _chunk({"tool_calls": [{"index": 0, "function": {"arguments": json.dumps(ARGUMENTS)}}]}),
        ],
    ),
    lambda: {"messages": [_SYSTEM, _ASKED]},
    lambda: {"messages": [_LATER, _ASKED, {"role": "assistant", "content": ANSWER}, _MORE]},
    lambda: {
        "messages": [
            {"role": "user", "content": "Said anew"},
            {"role": "assistant", "tool_calls": [_function(id=CALL_ID)]},
            {"role": "tool", "tool_call_id": CALL_ID, "content": "sunny"},
        ]
    },
)

_USE = {"type": "tool_use", "id": CALL_ID, "name": "weather"}
ANTHROPIC = Dialect(
    {"dialect": "anthropic", "operation": "chat", "path": "/anthropic/v1/messages"},
    lambda: (
        {"type": "message", "content": [{"type": "text", "text": ANSWER}]},
        [
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}},
        ],
    ),
    lambda: (
        {"type": "message", "content": [{**_USE, "input": ARGUMENTS}]},
        [
            {"type": "content_block_start", "index": 0, "content_block": {**_USE, "input": {}}},
            {"type": "content_block_delta", "index": 0, "delta": {"partial_json": json.dumps(ARGUMENTS)}},
        ],
    ),
    lambda: {"system": "It is 12:05.", "messages": [_ASKED]},
    lambda: {
        "system": [{"type": "text", "text": "It is 12:06."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
            {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]},
            _MORE,
        ],
    },
    lambda: {
        "messages": [
            {"role": "user", "content": "Said anew"},
            {"role": "assistant", "content": [{**_USE, "input": ARGUMENTS}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": CALL_ID, "content": "sunny"}]},
        ]
    },
)

_OLLAMA_CALL = {"function": {"name": "weather", "arguments": ARGUMENTS}}
OLLAMA = Dialect(
    {"dialect": "ollama", "operation": "chat", "path": "/api/chat"},
    lambda: (
        {"message": {"role": "assistant", "content": ANSWER}, "done": True, "done_reason": "stop"},
        [{"message": {"content": ANSWER[:9]}}, {"message": {"content": ANSWER[9:]}}, {"done": True}],
    ),
    lambda: (
        {"message": {"role": "assistant", "content": "", "tool_calls": [_OLLAMA_CALL]}, "done": True},
        [{"message": {"content": "", "tool_calls": [_OLLAMA_CALL]}}, {"done": True}],
    ),
    lambda: {"messages": [_SYSTEM, _ASKED]},
    lambda: {"messages": [_LATER, _ASKED, {"role": "assistant", "content": ANSWER}, _MORE]},
    # Without ids what was said before is what tells.
    lambda: {
        "messages": [
            _ASKED,
            {"role": "assistant", "content": "", "tool_calls": [_OLLAMA_CALL]},
            {"role": "tool", "tool_name": "weather", "content": "sunny"},
        ]
    },
)

_ITEM = {"type": "function_call", "call_id": CALL_ID, "name": "weather", "arguments": json.dumps(ARGUMENTS)}
_TEXT = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": ANSWER}]}
RESPONSES = Dialect(
    {"dialect": "openai", "operation": "response", "path": "/v1/responses"},
    lambda: (
        {"object": "response", "id": "resp_1", "status": "completed", "output": [_TEXT]},
        [
            {"type": "response.created", "response": {"id": "resp_1", "object": "response", "output": []}},
            {"type": "response.output_text.delta", "delta": ANSWER},
            {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": [_TEXT]}},
        ],
    ),
    lambda: (
        {"object": "response", "id": "resp_1", "status": "completed", "output": [_ITEM]},
        [
            {"type": "response.output_item.added", "item": {**_ITEM, "arguments": ""}},
            {"type": "response.function_call_arguments.delta", "delta": json.dumps(ARGUMENTS)},
        ],
    ),
    lambda: {"instructions": "It is 12:05.", "input": QUESTION},
    lambda: {"instructions": "It is 12:06.", "input": [_ASKED, {**_TEXT, "id": "msg_1"}, _MORE]},
    lambda: {"input": [_ITEM, {"type": "function_call_output", "call_id": CALL_ID, "output": "sunny"}]},
)

DIALECTS = {"openai": OPENAI, "anthropic": ANTHROPIC, "ollama": OLLAMA, "responses": RESPONSES}


@pytest.fixture
def talks(tmp_path) -> Iterator[Talks]:
    made = Talks(tmp_path / "exchanges.sqlite3")
    with closing(made.database):
        yield made


def said(talks: Talks, dialect: Dialect, request: Body, answer: tuple[Body, list[Body]], *, stream: bool) -> str | None:
    """Record an exchange, and return its conversation."""
    changes = dict(dialect.fields)
    if stream:
        is_lines = changes["dialect"] == "ollama"
        lines = [json.dumps(event) for event in answer[1]]
        changes["response_body"] = "".join(f"{one}\n" if is_lines else f"data: {one}\n\n" for one in lines).encode()
        kind = "application/x-ndjson" if is_lines else "text/event-stream"
        changes["response_headers"] = {"content-type": kind}
    return talks.join(talks.exchange(request, answer[0], **changes))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", DIALECTS)
def test_a_turn_and_the_result_of_a_call_are_known(talks: Talks, name: str, stream: bool) -> None:
    dialect = DIALECTS[name]

    first = said(talks, dialect, dialect.asked(), dialect.words(), stream=stream)
    assert said(talks, dialect, dialect.next_turn(), dialect.words(), stream=stream) == first

    calling = said(talks, dialect, dialect.asked(), dialect.call(), stream=stream)
    assert calling != first
    assert said(talks, dialect, dialect.result(), dialect.words(), stream=stream) == calling


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_goes_on_from_the_one_that_it_names(talks: Talks, stream: bool) -> None:
    first = said(talks, RESPONSES, RESPONSES.asked(), RESPONSES.words(), stream=stream)

    named = {"input": "And its tail?", "previous_response_id": "resp_1"}
    assert said(talks, RESPONSES, named, RESPONSES.call(), stream=stream) == first
    other = {**named, "previous_response_id": "resp_2"}
    assert said(talks, RESPONSES, other, RESPONSES.call(), stream=stream) != first


def test_a_conversation_of_the_responses_is_one_whatever_is_said(talks: Talks) -> None:
    first = said(talks, RESPONSES, {"input": "Hello", "conversation": "conv_1"}, RESPONSES.words(), stream=False)

    again = {"input": "Something else", "conversation": {"id": "conv_1"}}
    assert said(talks, RESPONSES, again, RESPONSES.call(), stream=False) == first
    assert said(talks, RESPONSES, {**again, "conversation": "conv_2"}, RESPONSES.words(), stream=False) != first


def test_a_conversation_may_change_its_dialect(talks: Talks) -> None:
    first = said(talks, OPENAI, OPENAI.asked(), OPENAI.words(), stream=True)

    for dialect in (ANTHROPIC, OLLAMA, RESPONSES):
        assert said(talks, dialect, dialect.next_turn(), dialect.words(), stream=False) == first
