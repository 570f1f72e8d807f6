"""The events of an answer, whatever dialect it was given in, in the one form that this room reads: OpenAI's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from dmrc.dialects.anthropic.record import AnthropicReader
from dmrc.dialects.responses.record import ResponsesReader
from dmrc.event_stream import Event, events, is_event_stream
from dmrc.exchange import Exchange, JsonValue
from dmrc.json_values import items_of, object_of, parse_object


def answer_events(exchange: Exchange) -> Iterator[Event] | None:
    """Return the events of the answer; None where it is one OpenAI document."""
    body = exchange.response_body
    if exchange.operation == "count_tokens":
        return _retold([Event(body, len(body))], _counted)
    if exchange.dialect == "ollama":
        return _ollama_events(body)
    streamed = is_event_stream(body, exchange.response_headers)
    told = events(body) if streamed else iter([Event(body, len(body))])
    if exchange.dialect == "anthropic":
        return _retold(told, AnthropicReader().read)
    if exchange.operation == "response":
        return _retold(told, ResponsesReader().read)
    return told if streamed else None


def is_streamed(exchange: Exchange) -> bool:
    """Return whether the answer came in pieces."""
    if exchange.dialect == "ollama":
        return "ndjson" in exchange.response_headers.get("content-type", "")
    return is_event_stream(exchange.response_body, exchange.response_headers)


def _retold(told: Iterable[Event], read: Callable[[dict[str, JsonValue]], dict[str, JsonValue]]) -> Iterator[Event]:
    """Yield each event that says something, in OpenAI's words; an answer that is no stream is one event."""
    for event in told:
        if said := read(parse_object(event.data)):
            yield Event(json.dumps(said).encode(), event.end)


def _counted(said: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return a count, which every dialect gives as `input_tokens`, as a usage."""
    count = said.get("input_tokens")
    return {"usage": {"prompt_tokens": count}} if isinstance(count, int) else {"error": said.get("error")}


def _ollama_events(body: bytes) -> Iterator[Event]:
    """Yield an event for each line; the one document of an answer that is no stream is one line."""
    end, has_called = 0, False
    for line in body.splitlines(keepends=True):
        end += len(line)
        if said := parse_object(line):
            has_called |= bool(object_of(said.get("message")).get("tool_calls"))
            if has_called and said.get("done_reason") == "stop":
                said["done_reason"] = "tool_calls"  # Ollama ends such an answer with `stop`
            yield Event(json.dumps(_in_openai_words(said)).encode(), end)


def _in_openai_words(said: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return a line of Ollama's with OpenAI's fields.

    Shape of a line: `{"message": {"role": "assistant", "content": "Hel", "thinking": "…", "tool_calls": [{"function":
    {"name": "f", "arguments": {}}}]}, "done": true, "done_reason": "stop", "eval_count": 4}`; `response` in place of
    `message` for /api/generate.
    """
    result = {name: value for name, value in said.items() if name not in ("message", "response")}
    message = object_of(said.get("message"))
    calls: list[JsonValue] = [_call(call, index) for index, call in enumerate(items_of(message.get("tool_calls")))]
    delta: dict[str, JsonValue] = {
        "content": message.get("content") or said.get("response"),
        "reasoning_content": message.get("thinking") or said.get("thinking"),
        "tool_calls": calls,
    }
    used: dict[str, JsonValue] = {name: value for name, value in delta.items() if value}
    if used or said.get("done_reason"):
        choice: dict[str, JsonValue] = {"index": 0, "delta": used, "finish_reason": said.get("done_reason")}
        result["choices"] = [choice]
    counts = {"prompt_tokens": said.get("prompt_eval_count"), "completion_tokens": said.get("eval_count")}
    if any(value is not None for value in counts.values()):
        result["usage"] = {name: value for name, value in counts.items() if value is not None}
    return result


def _call(call: dict[str, JsonValue], index: int) -> dict[str, JsonValue]:
    function = object_of(call.get("function"))
    told: dict[str, JsonValue] = {
        "name": function.get("name"),
        "arguments": json.dumps(function.get("arguments"), ensure_ascii=False),
    }
    return {"index": index, "id": call.get("id"), "function": told}
