"""The Responses' items as messages of a chat completion. Pure.

Source: https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence

from dmrc.dialects.chat.known_fields import Fields
from dmrc.dialects.chat.shapes import TEXT, check_kinds, given_objects
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from dmrc.json_values import items_of

_TEXTS = ("input_text", "output_text", "text", "refusal", "reasoning_text", "summary_text")
_ABOUT = ("id", "status")
_ITEMS = {
    "message": Fields(("type", "role", "content"), (*_ABOUT, "phase", "end_turn")),
    # What is encrypted only OpenAI can read.
    "reasoning": Fields(("type", "content", "summary"), (*_ABOUT, "encrypted_content")),
    "function_call": Fields(("type", "call_id", "name", "arguments"), (*_ABOUT, "caller", "namespace", "async")),
    "function_call_output": Fields(("type", "call_id", "output"), (*_ABOUT, "caller", "namespace", "name")),
}
_CALL = {"call_id": TEXT, "name": TEXT, "arguments": TEXT}
_CACHED = "prompt_cache_breakpoint"
# What an answer holds beside its text comes back with it.
_SAID = Fields(("type", "text", "refusal"), ("annotations", "logprobs", "parsed", _CACHED))
_PARTS = {
    **dict.fromkeys(_TEXTS, _SAID),
    "input_image": Fields(("type", "image_url", "file_id"), ("detail", _CACHED)),
    "input_audio": Fields(("type", "input_audio"), (_CACHED,)),
    "input_file": Fields(("type", "file_data", "filename", "file_id", "file_url"), ("detail", _CACHED)),
}
_TEXT_FILES = ("text/", "application/json", "application/xml", "application/x-yaml")


def messages(instructions: JsonValue, items: Sequence[JsonValue]) -> list[JsonValue]:
    """Return the messages that say what the items do.

    Raises:
        InputError: One of them holds what no message can say; that is named.
    """
    found: list[JsonObject] = [{"role": "system", "content": instructions}] if instructions else []
    for item in items_of([*items]):
        match _checked_kind(item):
            case "message":
                _add_message(found, item)
            case "reasoning":
                # What was thought, or else what OpenAI tells of it.
                if thoughts := _joined(
                    given_objects(item.get("content"), "content") or given_objects(item.get("summary"), "summary")
                ):
                    found.append({"role": "assistant", "content": "", "reasoning_content": thoughts})
            case "function_call":
                check_kinds(item, _CALL, " of a function_call")
                function: JsonObject = {"name": item.get("name"), "arguments": item.get("arguments")}
                call: JsonObject = {"id": item.get("call_id"), "type": "function", "function": function}
                message = _latest_answer(found)
                message["tool_calls"] = [*items_of(message.get("tool_calls")), call]
            case _:
                found += _result(item)
    return [*found]


def _checked_kind(item: JsonObject) -> str:
    """Return which of `_ITEMS` an item is."""
    kind = "message" if (told := item.get("type")) is None else told
    known = _ITEMS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise InputError(f"an item of type '{kind}' cannot be read", remedy="Send messages and functions")
    known.check_inner(item, f" of an item of type '{kind}'")
    return str(kind)


def _add_message(found: list[JsonObject], item: JsonObject) -> None:
    """Add a message; the model's goes to the thoughts before it."""
    role = "system" if item.get("role") == "developer" else item.get("role")
    said = _content(item.get("content"))
    thought = found[-1] if found and found[-1].keys() == {"role", "content", "reasoning_content"} else {}
    if role == "assistant" and thought and not thought["content"]:
        thought["content"] = said
    else:
        found.append({"role": role, "content": said})


def _result(item: JsonObject) -> list[JsonObject]:
    """Return the result of a call. A tool's message has words only: what it shows comes after it."""
    output = item.get("output")
    parts = [_text(output)] if isinstance(output, str) else [_part(part) for part in given_objects(output, "output")]
    words = _joined(part for part in parts if part["type"] == "text")
    shown: list[JsonValue] = [part for part in parts if part["type"] != "text"]
    result: JsonObject = {"role": "tool", "tool_call_id": item.get("call_id"), "content": words}
    return [result, {"role": "user", "content": shown}] if shown else [result]


def _latest_answer(found: list[JsonObject]) -> JsonObject:
    """Return the model's message that calls belong to: several calls, and the words before them, are one message."""
    if not found or found[-1]["role"] != "assistant":
        found.append({"role": "assistant", "content": ""})
    return found[-1]


def _content(content: JsonValue) -> JsonValue:
    if isinstance(content, str) or content is None:
        return content
    if not isinstance(content, list):
        raise InputError("the 'content' of a message must be text or a list")
    parts = [_part(part) for part in given_objects(content, "content")]
    has_words_only = all(part["type"] == "text" for part in parts)
    return _joined(parts) if has_words_only else [*parts]


def _part(part: JsonObject) -> JsonObject:
    kind = part.get("type")
    if known := _PARTS.get(str(kind)):
        known.check_inner(part, f" of a part of type '{kind}'")
    if kind in _TEXTS:
        return _text(part.get("refusal" if kind == "refusal" else "text"))
    if kind == "input_image" and isinstance(url := part.get("image_url"), str):
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.get("input_audio")}
    if kind == "input_file" and isinstance(data := part.get("file_data"), str):
        return _file(data, part.get("filename"))
    held = next((name for name in ("file_id", "file_url") if part.get(name)), None)
    remedy = "Send what it holds" if held else "Send text or pictures"
    raise InputError(f"a part of type '{kind}'{f' with {held}' if held else ''} cannot be read", remedy=remedy)


def _file(data: str, name: JsonValue) -> JsonObject:
    """Return the text of a file, `data:text/plain;base64,…`."""
    about, _, encoded = data.removeprefix("data:").partition(";base64,")
    try:
        if data.startswith("data:") and about.startswith(_TEXT_FILES):
            text = base64.b64decode(encoded, validate=True).decode()
            return _text(f"{name}\n{text}" if name else text)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"the data of file '{name}' must be text in base64: {error}") from error
    raise InputError(f"file '{name}' is not text, and cannot be read", remedy="Send the text that it holds")


def _text(text: JsonValue) -> JsonObject:
    if not isinstance(text, str):
        raise InputError("the 'text' of a part must be a string")
    return {"type": "text", "text": text}


def _joined(parts: Iterable[JsonObject]) -> str:
    return "\n".join(str(part.get("text") or "") for part in parts)
