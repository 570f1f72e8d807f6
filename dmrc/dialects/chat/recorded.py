"""What the readers of several dialects share: requests and answers as the record has them, in the words of chats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from dmrc.exchange import JsonValue
from dmrc.json_values import object_of

_Json = dict[str, JsonValue]


def system_message(text: JsonValue) -> Iterator[_Json]:
    """Yield the message for a system prompt that stands beside the messages; nothing for an empty one."""
    if text:
        yield {"role": "system", "content": text}


def without_roles(request: Mapping[str, JsonValue], *names: str) -> Iterator[_Json]:
    """Yield a message for each of the fields that holds words, with its name as the role; token numbers are none."""
    for name in names:
        value = request.get(name)
        if (isinstance(value, str) and value) or (isinstance(value, list) and any(map(_has_words, value))):
            yield {"role": name, "content": value}


def called(block: _Json, id_key: str, arguments: JsonValue) -> JsonValue:
    """Return a call of a tool in a message; `block` has its name and, under `id_key`, its id."""
    text = arguments if isinstance(arguments, str) else json.dumps(object_of(arguments), ensure_ascii=False)
    return {"id": block.get(id_key), "type": "function", "function": {"name": block.get("name"), "arguments": text}}


def chunk(delta: _Json, finish_reason: JsonValue = None) -> _Json:
    """Return a chunk of a stream that says this; nothing where it says nothing."""
    used: _Json = {name: value for name, value in delta.items() if value}
    if not used and not finish_reason:
        return {}
    return {"choices": [{"index": 0, "delta": used, "finish_reason": finish_reason}]}


def call_begun(block: _Json, id_key: str, position: int, arguments: JsonValue) -> _Json:
    """Return how a call of a tool begins in a chunk; see `called`."""
    function: _Json = {"name": block.get("name"), "arguments": arguments}
    return {"index": position, "id": block.get(id_key), "function": function}


def counted(said: _Json) -> _Json:
    """Return a count of tokens, which every dialect gives as `input_tokens`, as a chunk with a usage."""
    count = said.get("input_tokens")
    return {"usage": {"prompt_tokens": count}} if isinstance(count, int) else {"error": said.get("error")}


def _has_words(part: JsonValue) -> bool:
    return isinstance(part, str) or (isinstance(part, dict) and ("text" in part or "type" in part))
