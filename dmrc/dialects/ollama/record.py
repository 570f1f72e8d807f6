"""Requests and answers in Ollama's words, as the record reads them: told in OpenAI's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from dmrc.dialects.chat.recorded import system_message, without_roles
from dmrc.dialects.chat.tool_arguments import ArgumentPlace
from dmrc.exchange import JsonValue
from dmrc.json_values import items_of, object_of

_Document = dict[str, JsonValue]


def messages(request: Mapping[str, JsonValue]) -> list[_Document]:
    """Return the messages of a chat, or the words of the other routes, with the pictures that stand beside them."""
    images = request.get("images")
    alone = [{**one, "images": images} for one in without_roles(request, "prompt", "input")]
    told = map(_with_images, [*items_of(request.get("messages")), *alone])
    return [*system_message(request.get("system")), *told]


def _with_images(message: _Document) -> _Document:
    """Return a message with its `images` among the parts of its content."""
    images = message.get("images")
    if not isinstance(images, list) or not images:
        return message
    parts: list[JsonValue] = [{"type": "image", "source": {"data": image}} for image in images]
    return {**message, "content": [{"type": "text", "text": message.get("content")}, *parts]}


class OllamaReader:
    """Reads one answer, line by line; the one document of an answer that is no stream is one line."""

    def __init__(self) -> None:
        self._has_called = False

    def read(self, said: _Document) -> _Document:
        """Return a line with OpenAI's fields.

        Shape of a line: `{"message": {"role": "assistant", "content": "Hel", "thinking": "…", "tool_calls":
        [{"function": {"name": "f", "arguments": {}}}]}, "done": true, "done_reason": "stop", "eval_count": 4}`;
        `response` in place of `message` for /api/generate.
        """
        result = {name: value for name, value in said.items() if name not in ("message", "response")}
        message = object_of(said.get("message"))
        calls: list[JsonValue] = [_call(call, index) for index, call in enumerate(items_of(message.get("tool_calls")))]
        self._has_called |= bool(calls)
        delta: _Document = {
            "content": message.get("content") or said.get("response"),
            "reasoning_content": message.get("thinking") or said.get("thinking"),
            "tool_calls": calls,
        }
        used: _Document = {name: value for name, value in delta.items() if value}
        reason = said.get("done_reason")
        if used or reason:
            if self._has_called and reason == "stop":
                reason = "tool_calls"  # Ollama ends such an answer with `stop`
            choice: _Document = {"index": 0, "delta": used, "finish_reason": reason}
            result["choices"] = [choice]
        counts = {"prompt_tokens": said.get("prompt_eval_count"), "completion_tokens": said.get("eval_count")}
        if any(value is not None for value in counts.values()):
            result["usage"] = {name: value for name, value in counts.items() if value is not None}
        return result


def _call(call: _Document, index: int) -> _Document:
    function = object_of(call.get("function"))
    told: _Document = {
        "name": function.get("name"),
        "arguments": json.dumps(function.get("arguments"), ensure_ascii=False),
    }
    return {"index": index, "id": call.get("id"), "function": told}


def tool_arguments(answer: _Document) -> Iterator[ArgumentPlace]:
    """Yield the places of arguments, objects that come whole."""
    for position, call in enumerate(items_of(object_of(answer.get("message")).get("tool_calls"))):
        function = object_of(call.get("function"))
        if "arguments" in function:
            yield ArgumentPlace(function, "arguments", str(position), is_piece=False)
