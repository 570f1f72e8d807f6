"""Answers with other words, in each dialect: what is left of them is byte for byte what it was."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dmrc.capture.conversation import Message, ToolCall
from dmrc.cassettes.editing import respread, reworded
from dmrc.cassettes.interaction import Asked, Interaction, RecordedAnswer, RecordedPiece
from dmrc.cassettes.words import answer_of
from dmrc.cassettes.yaml_form import from_yaml, to_yaml
from dmrc.errors import InputError
from tests.cassettes.exchanges import chunk

pytestmark = pytest.mark.fast

SSE, NDJSON, WHOLE = "text/event-stream", "application/x-ndjson", "application/json"


def interaction(dialect: str, path: str, kind: str, pieces: list[bytes], operation: str = "chat") -> Interaction:
    return Interaction(
        Asked(dialect=dialect, operation=operation, path=path, model="llm", body={"messages": []}),  # type: ignore[arg-type]
        RecordedAnswer(
            model="ai/x", status=200, content_type=kind, pieces=tuple(RecordedPiece(9.5, piece) for piece in pieces)
        ),
    )


def events(*documents: dict) -> list[bytes]:
    return [b"data: " + json.dumps(one, separators=(",", ":")).encode() + b"\n\n" for one in documents]


def call(function: dict, **more: object) -> dict:
    return {"tool_calls": [{"index": 0, "function": function, **more}]}


def block(index: int, **delta: str) -> dict:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "any", **delta}}


def item(kind: str, **more: object) -> dict:
    return {"type": kind, "item_id": "i", "output_index": 0, **more}


TOOL_USE = {"type": "tool_use", "id": "t", "name": "look_up", "input": {}}
FUNCTION = {"type": "function_call", "call_id": "t", "name": "look_up", "arguments": ""}
CALLED = {**FUNCTION, "arguments": '{"city": "Paris"}'}
SAID = {"type": "message", "content": [{"type": "output_text", "text": "Hello you"}]}
ECHO = {"object": "response", "instructions": "Hello you", "tools": [{"type": "function", "name": "look_up"}]}

SPOKEN = {
    "chat stream": interaction(
        "openai",
        "/v1/chat/completions",
        SSE,
        [chunk({"content": "Hello"}), chunk({"content": " you"}), b"data: [DONE]\n\n"],
    ),
    "completion": interaction(
        "openai", "/v1/completions", WHOLE, [b'{"choices": [{"index": 0, "text": "Hello you"}]}']
    ),
    "anthropic stream": interaction(
        "anthropic",
        "/v1/messages",
        SSE,
        events(block(0, text="Hello"), block(0, text=" you"), {"type": "message_stop"}),
    ),
    "ollama stream": interaction(
        "ollama",
        "/api/generate",
        NDJSON,
        [b'{"response":"Hello"}\n', b'{"response":" you","done":true}\n'],
        "completion",
    ),
    "responses stream": interaction(
        "openai",
        "/v1/responses",
        SSE,
        events(
            {"type": "response.created", "response": {**ECHO, "output": []}},
            item("response.output_text.delta", content_index=0, delta="Hello"),
            item("response.output_text.delta", content_index=0, delta=" you"),
            item("response.output_text.done", content_index=0, text="Hello you"),
            {"type": "response.completed", "response": {**ECHO, "status": "completed", "output": [SAID]}},
        ),
        "response",
    ),
}
CALLING = {
    "chat stream": interaction(
        "openai",
        "/v1/chat/completions",
        SSE,
        [
            chunk(call({"name": "look_up", "arguments": '{"city": '}, id="c", type="function")),
            chunk(call({"arguments": '"Par'})),
            chunk(call({"arguments": 'is"}'})),
        ],
    ),
    "anthropic stream": interaction(
        "anthropic",
        "/v1/messages",
        SSE,
        events(
            {"type": "content_block_start", "index": 0, "content_block": TOOL_USE},
            block(0, partial_json='{"city": '),
            block(0, partial_json='"Paris"}'),
        ),
    ),
    "anthropic whole": interaction(
        "anthropic",
        "/v1/messages",
        WHOLE,
        [json.dumps({"type": "message", "content": [{**TOOL_USE, "input": {"city": "Paris"}}]}).encode()],
    ),
    "ollama": interaction(
        "ollama",
        "/api/chat",
        WHOLE,
        [b'{"message":{"tool_calls":[{"function":{"name":"look_up","arguments":{"city":"Paris"}}}]}}'],
    ),
    "responses stream": interaction(
        "openai",
        "/v1/responses",
        SSE,
        events(
            item("response.output_item.added", item=FUNCTION),
            item("response.function_call_arguments.delta", delta='{"city": '),
            item("response.function_call_arguments.delta", delta='"Paris"}'),
            item("response.function_call_arguments.done", arguments='{"city": "Paris"}'),
            {"type": "response.completed", "response": {**ECHO, "status": "completed", "output": [CALLED]}},
        ),
        "response",
    ),
}


@pytest.mark.parametrize("name", SPOKEN)
def test_a_text_changes_wherever_it_stands_and_nowhere_else(name: str) -> None:
    before = SPOKEN[name]
    (message,) = answer_of(before)

    after = reworded(before, [replace(message, text="Hello dear reader")])

    assert answer_of(after) == [replace(message, text="Hello dear reader")]
    assert len(after.answer.pieces) == len(before.answer.pieces)
    assert after.answer.body.count(b"Hello you") == before.answer.body.count(b'"instructions":"Hello you"')
    back = reworded(after, [message])
    assert back.answer.body == before.answer.body


@pytest.mark.parametrize("name", CALLING)
def test_a_call_changes_its_name_and_its_arguments(name: str) -> None:
    before = CALLING[name]
    (message,) = answer_of(before)
    (called,) = message.calls
    wanted = replace(called, name="find", arguments='{"city": "Rome"}')

    after = reworded(before, [replace(message, calls=(wanted,))])

    assert [one.calls for one in answer_of(after)] == [(wanted,)]
    assert b"Paris" not in after.answer.body
    assert after.answer.body.count(b'"look_up"') == before.answer.body.count(b'"tools":')
    assert [piece.after_ms for piece in after.answer.pieces] == [piece.after_ms for piece in before.answer.pieces]


def test_a_call_more_is_refused() -> None:
    before = SPOKEN["chat stream"]

    with pytest.raises(InputError, match="the answer has 0 tool calls, and 1 are given"):
        reworded(before, [Message("assistant", "Hello you", calls=(ToolCall("a", "b", "{}"),))])


def test_what_is_left_out_stays_as_it_is() -> None:
    one = SPOKEN["chat stream"]
    asked = replace(one, asked=replace(one.asked, body={"messages": [{"role": "user", "content": "Hi?"}]}))

    (changed,) = from_yaml("line: 2\nanswer: {text: Good day}", "x.yaml", {2: asked}).values()

    assert changed.asked == asked.asked
    assert [message.text for message in answer_of(changed)] == ["Good day"]
    assert from_yaml("line: 2", "x.yaml", {2: asked}) == {}


def test_another_number_of_answers_is_refused_in_words() -> None:
    with pytest.raises(InputError, match=r"x.yaml:2: answer says 2 things, and 1 were recorded"):
        from_yaml("line: 2\nanswer: [{text: a}, {text: b}]", "x.yaml", {2: SPOKEN["chat stream"]})


@pytest.mark.parametrize(
    ("pieces", "text", "spread"),
    [
        (["The", " sky", " is", " blue", "."], "The sky is grey.", ["The", " sky", " is", " grey", "."]),
        (["a", "b"], "", ["", ""]),
        (["one"], "one two", ["one two"]),
        (["one", " two"], "zero one two", ["zero one", " two"]),
        (["x", "y", "z"], "many words in three pieces here", ["many words", " in three", " pieces here"]),
        (["x", "y", "z"], "one", ["one", "", ""]),
    ],
)
def test_a_text_is_spread_over_the_pieces_that_there_are(pieces: list[str], text: str, spread: list[str]) -> None:
    assert respread(pieces, text) == spread
    assert "".join(spread) == text


@pytest.mark.parametrize(
    "text",
    [
        *("a\r\nb", "x \n y\t\n", "\u2028 a\nb", "1e3", "no", "\ud83d", "漢字 é", "  lead\n x", "tail\n\n", "---"),
        *("# c\n---\nb", "\x00", "a: b", "'", "%a\n%b", "\x85\n", "2026-01-31", "0o14", "", " "),
    ],
)
def test_whatever_was_asked_comes_back_from_its_text_as_it_was(text: str) -> None:
    before = SPOKEN["chat stream"]
    body = {"messages": [{"role": "user", "content": text}], "temperature": 1.0, "seed": 10**30, "stop": [text, None]}
    one = replace(before, asked=replace(before.asked, body=body))

    shown = to_yaml([(2, one)], "api.jsonl")

    assert from_yaml(shown, "text", {2: one}) == {}
    changed = from_yaml(shown.replace("Hello you", "Bye"), "text", {2: one})
    assert changed[2].asked == one.asked
