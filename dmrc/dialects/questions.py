"""The messages of a request, whatever dialect it was written in, in the one form that this room reads: OpenAI's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from dmrc.exchange import JsonValue
from dmrc.json_values import items_of, object_of

_Json = dict[str, JsonValue]


def messages_of(request: Mapping[str, JsonValue]) -> list[_Json]:
    """Return the messages in their order; those of OpenAI's chat as they are, none where there are no messages.

    Anthropic's blocks `tool_use`, `tool_result` and `thinking` and the items `function_call`, `function_call_output`
    and `reasoning` of OpenAI's Responses become calls, results and thoughts.
    """
    found = [one for message in items_of(request.get("messages")) for one in _of_blocks(message)]
    return found or [one for item in items_of(request.get("input")) for one in _of_item(item)]


def _of_blocks(message: _Json) -> Iterator[_Json]:
    """Yield one message of OpenAI's or Anthropic's, with the results of tools as messages of their own."""
    blocks = items_of(message.get("content"))
    calls: list[JsonValue] = [_call(one, "id", one.get("input")) for one in blocks if one.get("type") == "tool_use"]
    results = [one for one in blocks if one.get("type") == "tool_result"]
    thoughts = [text for one in blocks if isinstance(text := one.get("thinking"), str)]
    if not (calls or results or thoughts):
        yield with_images(message)
        return
    for one in results:
        yield {"role": "tool", "tool_call_id": one.get("tool_use_id"), "content": one.get("content")}
    known = ("tool_use", "tool_result", "thinking", "redacted_thinking")
    rest: list[JsonValue] = [one for one in blocks if one.get("type") not in known]
    if rest or calls or thoughts:
        more: _Json = {"tool_calls": calls} if calls else {}
        yield {**message, "content": rest, "reasoning_content": "\n".join(thoughts), **more}


def with_images(message: _Json) -> _Json:
    """Return a message with Ollama's `images`, which stand beside its words, among its parts."""
    images = message.get("images")
    if not isinstance(images, list) or not images:
        return message
    parts: list[JsonValue] = [{"type": "image", "source": {"data": image}} for image in images]
    return {**message, "content": [{"type": "text", "text": message.get("content")}, *parts]}


def _of_item(item: _Json) -> Iterator[_Json]:
    kind = item.get("type")
    if kind == "function_call":
        calls: list[JsonValue] = [_call(item, "call_id", item.get("arguments"))]
        yield {"role": "assistant", "tool_calls": calls}
    elif kind == "function_call_output":
        yield {"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}
    elif kind == "reasoning":
        parts = [*items_of(item.get("summary")), *items_of(item.get("content"))]
        texts = [text for one in parts if isinstance(text := one.get("text"), str)]
        yield {"role": "assistant", "reasoning_content": "\n".join(texts)}
    else:
        yield item


def _call(block: _Json, id_key: str, arguments: JsonValue) -> JsonValue:
    text = arguments if isinstance(arguments, str) else json.dumps(object_of(arguments), ensure_ascii=False)
    return {"id": block.get(id_key), "type": "function", "function": {"name": block.get("name"), "arguments": text}}
