"""Tool calls and thoughts of dialects other than OpenAI's, as the record reads them: shapes of their documentation."""

from __future__ import annotations

import json

import pytest

from dmrc.capture.conversation import ToolCall, answered
from dmrc.capture.reading import complete, text_of_response
from dmrc.exchange import Exchange

CALL = ToolCall("call_1", "get_weather", '{"city": "Bern"}')


def exchange(body: bytes, *, streamed: bool, **fields: object) -> Exchange:
    kind = "text/event-stream" if streamed else "application/json"
    basics = {"id": "1", "method": "POST", "path": "/x", "received_at": 0.0, "status": 200, "total_ms": 9.0}
    offsets = ((5.0, 0),) if streamed else ()
    headers = {"content-type": kind}
    return Exchange(**basics, **fields, response_body=body, response_headers=headers, chunk_offsets=offsets)


def stream(*events: dict[str, object]) -> bytes:
    return b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)


def anthropic(*, streamed: bool) -> Exchange:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 7}
    use = {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Bern"}}
    thought = {"type": "thinking", "thinking": "Let me look."}
    whole = {"type": "message", "content": [thought, use], "stop_reason": "tool_use", "usage": usage}
    if not streamed:
        return exchange(json.dumps(whole).encode(), streamed=False, dialect="anthropic", operation="chat")
    body = stream(
        {"type": "message_start", "message": {"content": [], "usage": {**usage, "output_tokens": 0}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Let me look."}},
        {"type": "content_block_start", "index": 1, "content_block": {**use, "input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"city": '}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '"Bern"}'}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    )
    return exchange(body, streamed=True, dialect="anthropic", operation="chat", stream=True)


def response(*, streamed: bool) -> Exchange:
    usage = {"input_tokens": 15, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 5}}
    call = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city": "Bern"}'}
    thought = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Let me look."}]}
    whole = {"object": "response", "status": "completed", "output": [thought, call], "usage": usage}
    if not streamed:
        return exchange(json.dumps(whole).encode(), streamed=False, operation="response")
    body = stream(
        {"type": "response.created", "response": {"status": "in_progress"}},
        {"type": "response.reasoning_text.delta", "delta": "Let me look."},
        {"type": "response.output_item.added", "item": {**call, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "delta": '{"city": '},
        {"type": "response.function_call_arguments.delta", "delta": '"Bern"}'},
        {"type": "response.completed", "response": whole},
    )
    return exchange(body, streamed=True, operation="response", stream=True)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("told", "ending"), [(anthropic, "tool_use"), (response, "tool_calls")])
def test_a_tool_call_is_read_with_its_thoughts_and_counts(told, ending: str, streamed: bool) -> None:
    found = told(streamed=streamed)

    (message,) = answered(found)
    assert (message.calls, message.reasoning) == ((CALL,), "Let me look.")
    assert "get_weather" in text_of_response(found)
    read = complete(found)
    assert (read.prompt_tokens, read.cached_tokens, read.completion_tokens) == (15, 5, 7)
    assert read.finish_reason == ending
    assert (read.first_token_ms == 5.0) is streamed


def test_an_error_of_anthropics_is_read() -> None:
    error = {"type": "error", "error": {"type": "api_error", "message": "broke off"}}

    read = complete(exchange(stream(error), streamed=True, dialect="anthropic", operation="chat"))

    assert (read.error_type, read.error_message) == ("api_error", "broke off")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_response_that_was_cut_says_so(streamed: bool) -> None:
    """Issue 16, B16: "completed" stood for calls of tools and for cut answers."""
    whole = {"object": "response", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    body = stream({"type": "response.incomplete", "response": whole}) if streamed else json.dumps(whole).encode()

    assert complete(exchange(body, streamed=streamed, operation="response")).finish_reason == "length"


@pytest.mark.parametrize(
    ("basics", "whole"),
    [
        ({"dialect": "anthropic", "operation": "chat"}, {"type": "message", "content": []}),
        ({"operation": "response"}, {"object": "response", "status": "completed", "output": []}),
    ],
)
def test_a_whole_answer_has_its_first_token_and_rate_from_the_engine(basics, whole) -> None:
    timings = {"prompt_n": 5, "cache_n": 0, "prompt_ms": 4.0, "predicted_n": 7, "predicted_per_second": 50.0}
    found = exchange(json.dumps({**whole, "timings": timings}).encode(), streamed=False, **basics)

    read = complete(found)

    assert (read.first_token_ms, read.completion_tokens_per_second, read.completion_tokens) == (4.0, 50.0, 7)


def test_a_count_is_the_tokens_of_its_prompt() -> None:
    for dialect in ("anthropic", "openai"):
        found = exchange(b'{"input_tokens": 12}', streamed=False, dialect=dialect, operation="count_tokens")

        assert complete(found).prompt_tokens == 12


def test_calls_of_ollama_end_as_calls() -> None:
    calls = [{"function": {"name": "get_weather", "arguments": {"city": "Bern"}}}]
    lines = ({"message": {"tool_calls": calls}, "done": False}, {"message": {}, "done": True, "done_reason": "stop"})
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    assert complete(exchange(body, streamed=True, dialect="ollama", operation="chat")).finish_reason == "tool_calls"
