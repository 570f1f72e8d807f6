"""Answers in Anthropic's words, told in OpenAI's, which this room reads.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import json

from dmrc.exchange import JsonValue
from dmrc.json_values import items_of, object_of

_Document = dict[str, JsonValue]


class AnthropicReader:
    """Reads one answer; counts of tokens come in several events, and pieces of a tool call name its block only."""

    def __init__(self) -> None:
        """Begin."""
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
                    "tool_calls": [_call(one, index, _json(one.get("input"))) for index, one in enumerate(calls)],
                }
                return {**self._used(said), **_choice(delta, said.get("stop_reason")), **_times(said)}
            case "message_start":
                begun = object_of(object_of(said.get("message")).get("usage"))
                return self._used({"usage": {name: value for name, value in begun.items() if name != "output_tokens"}})
            case "content_block_start":
                block = object_of(said.get("content_block"))
                if block.get("type") == "tool_use":
                    position = self._calls[said.get("index")] = len(self._calls)
                    return _choice({"tool_calls": [_call(block, position, "")]})
                return {}
            case "content_block_delta":
                return self._delta(said)
            case "message_delta":
                reason = object_of(said.get("delta")).get("stop_reason")
                return {**self._used(said), **_choice({}, reason), **_times(said)}
        return {"error": said["error"]} if said.get("error") else {}

    def _delta(self, said: _Document) -> _Document:
        delta = object_of(said.get("delta"))
        if "partial_json" in delta:
            position = self._calls.get(said.get("index"), 0)
            return _choice({"tool_calls": [{"index": position, "function": {"arguments": delta["partial_json"]}}]})
        return _choice({"content": delta.get("text"), "reasoning_content": delta.get("thinking")})

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


def _choice(delta: _Document, finish_reason: JsonValue = None) -> _Document:
    used: _Document = {name: value for name, value in delta.items() if value}
    if not used and not finish_reason:
        return {}
    return {"choices": [{"index": 0, "delta": used, "finish_reason": finish_reason}]}


def _call(block: _Document, position: int, arguments: str) -> _Document:
    return {"index": position, "id": block.get("id"), "function": {"name": block.get("name"), "arguments": arguments}}


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)
