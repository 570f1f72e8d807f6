"""Requests and answers in Anthropic's words, as the record reads them: told in OpenAI's.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from dmrc.dialects.chat.recorded import call_begun, called, chunk, system_message
from dmrc.dialects.chat.tool_arguments import ArgumentPlace
from dmrc.exchange import JsonValue
from dmrc.json_values import items_of, object_of

_Document = dict[str, JsonValue]
_TOLD_APART = ("tool_use", "tool_result", "thinking", "redacted_thinking")


def messages(request: Mapping[str, JsonValue]) -> list[_Document]:
    """Return the messages of a chat; blocks `tool_use`, `tool_result`, `thinking` become calls, results, thoughts."""
    said = items_of(request.get("messages"))
    return [*system_message(request.get("system")), *(one for message in said for one in _of_blocks(message))]


def _of_blocks(message: _Document) -> Iterator[_Document]:
    """Yield one message, with the results of tools as messages of their own."""
    blocks = items_of(message.get("content"))
    calls: list[JsonValue] = [called(one, "id", one.get("input")) for one in blocks if one.get("type") == "tool_use"]
    results = [one for one in blocks if one.get("type") == "tool_result"]
    thoughts = [text for one in blocks if isinstance(text := one.get("thinking"), str)]
    if not (calls or results or thoughts):
        yield message
        return
    for one in results:
        yield {"role": "tool", "tool_call_id": one.get("tool_use_id"), "content": one.get("content")}
    rest: list[JsonValue] = [one for one in blocks if one.get("type") not in _TOLD_APART]
    if rest or calls or thoughts:
        more: _Document = {"tool_calls": calls} if calls else {}
        yield {**message, "content": rest, "reasoning_content": "\n".join(thoughts), **more}


class AnthropicReader:
    """Reads one answer; counts of tokens come in several events, and pieces of a tool call name its block only."""

    def __init__(self) -> None:
        self._usage: _Document = {}
        self._calls: dict[JsonValue, int] = {}

    def read(self, said: _Document) -> _Document:
        """Return an event in OpenAI's words; nothing where it says nothing."""
        match said.get("type"):
            case "message":
                blocks = items_of(said.get("content"))
                calls = [one for one in blocks if one.get("type") == "tool_use"]
                delta: _Document = {
                    "content": "".join(str(one["text"]) for one in blocks if isinstance(one.get("text"), str)),
                    "reasoning_content": "".join(str(one["thinking"]) for one in blocks if one.get("thinking")),
                    "tool_calls": [_call(one, index) for index, one in enumerate(calls)],
                }
                return {**self._used(said), **chunk(delta, said.get("stop_reason")), **_times(said)}
            case "message_start":
                begun = object_of(object_of(said.get("message")).get("usage"))
                return self._used({"usage": {name: value for name, value in begun.items() if name != "output_tokens"}})
            case "content_block_start":
                block = object_of(said.get("content_block"))
                if block.get("type") == "tool_use":
                    position = self._calls[said.get("index")] = len(self._calls)
                    return chunk({"tool_calls": [call_begun(block, "id", position, "")]})
                return {}
            case "content_block_delta":
                return self._delta(said)
            case "message_delta":
                reason = object_of(said.get("delta")).get("stop_reason")
                return {**self._used(said), **chunk({}, reason), **_times(said)}
        return {"error": said["error"]} if said.get("error") else {}

    def _delta(self, said: _Document) -> _Document:
        delta = object_of(said.get("delta"))
        if "partial_json" in delta:
            position = self._calls.get(said.get("index"), 0)
            return chunk({"tool_calls": [{"index": position, "function": {"arguments": delta["partial_json"]}}]})
        return chunk({"content": delta.get("text"), "reasoning_content": delta.get("thinking")})

    def _used(self, said: _Document) -> _Document:
        """Return all counts so far; what came from the cache is not among Anthropic's input tokens."""
        self._usage |= {name: value for name, value in object_of(said.get("usage")).items() if isinstance(value, int)}
        counts = {name: value for name, value in self._usage.items() if isinstance(value, int)}
        if not any(counts.values()):  # our own streams begin so
            return {}
        cached = counts.get("cache_read_input_tokens", 0)
        usage: _Document = {
            "prompt_tokens": counts.get("input_tokens", 0) + cached,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        if "output_tokens" in counts:  # at the end
            usage["completion_tokens"] = counts["output_tokens"]
        return {"usage": usage}


def _times(said: _Document) -> _Document:
    """Return what the engine measured, which our own answers have beside Anthropic's fields."""
    return {"timings": said["timings"]} if said.get("timings") else {}


def _call(block: _Document, position: int) -> _Document:
    return call_begun(block, "id", position, json.dumps(block.get("input"), ensure_ascii=False))


def tool_arguments(answer: _Document) -> Iterator[ArgumentPlace]:
    """Yield the places of arguments: the `input` of blocks, an object, and the pieces of its text in a stream."""
    for position, block in enumerate(items_of(answer.get("content"))):
        if block.get("type") == "tool_use":
            yield ArgumentPlace(block, "input", str(position), is_piece=False)
    delta = object_of(answer.get("delta"))
    if isinstance(delta.get("partial_json"), str):
        yield ArgumentPlace(delta, "partial_json", str(answer.get("index")), is_piece=True)
