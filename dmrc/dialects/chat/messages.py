"""The messages of a chat completion: what cannot be meant is refused by its place, what can be put right is put right.

llama.cpp's server answers 500 to most of what is fixed and refused here, and clients repeat a 500. Pure.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import json
import re

from dmrc.dialects.chat.served import Served
from dmrc.dialects.chat.unfinished import closed, refuse_constant
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject

_ROLES = ("system", "developer", "user", "assistant", "tool")
_TEXTS = ("text", "refusal")
_MEDIA = ("image_url", "input_audio", "input_video", "video_url")
# What OpenAI's clients send as null where there is nothing.
_NULLS = ("name", "tool_calls", "tool_call_id", "reasoning_content", "reasoning", "refusal", "audio", "function_call")

_HALF = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def checked_messages(value: JsonValue, served: Served) -> JsonValue:
    """Return the messages; the very same list where nothing had to be fixed.

    Raises:
        InputError: One cannot be meant; it is named by its place, as `messages[2].content`.
    """
    if not isinstance(value, list):
        raise InputError(
            f"'messages' must be a list, not {shown(value)}", remedy='Send [{"role": "user", "content": "…"}]'
        )
    if not value:
        raise InputError("'messages' is empty", remedy='Send at least one: {"role": "user", "content": "…"}')
    fixed = [_message(message, f"messages[{number}]", served) for number, message in enumerate(value)]
    return value if all(new is old for new, old in zip(fixed, value, strict=True)) else fixed


def shown(value: JsonValue) -> str:
    """Return a value as a message names it: short, and never a whole prompt."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _message(message: JsonValue, where: str, served: Served) -> JsonValue:
    if not isinstance(message, dict):
        raise InputError(f"{where} must be a message, not {shown(message)}", remedy="Send an object with a 'role'")
    role = message.get("role")
    if not isinstance(role, str):
        raise InputError(f"{where} has no 'role'", remedy=f"Send one of {', '.join(_ROLES)}")
    if not _is_known(role, served):
        raise InputError(f"{where}.role is {shown(role)}, which is not known", remedy=f"Use {', '.join(_ROLES)}")
    if message.get("function_call") and not served.is_upstream:
        raise InputError(f"{where}.function_call is not supported", remedy="Send the call in 'tool_calls'")
    changes: JsonObject = {}
    content = message.get("content")
    if (said := _content(content, f"{where}.content", served)) is not content:
        changes["content"] = said
    calls = message.get("tool_calls")
    if calls is not None and (told := _calls(calls, f"{where}.tool_calls", served)) is not calls:
        changes["tool_calls"] = told
    if content is None and not calls and "content" not in changes:
        changes |= _without_content(role, where)
    for name in ("reasoning_content", "name", "tool_call_id"):
        if not isinstance(message.get(name), str | None):
            raise InputError(f"{where}.{name} must be a string, not {shown(message[name])}")
    nulls = [name for name in _NULLS if name in message and message[name] is None]
    if not changes and not nulls:
        return message
    return {name: value for name, value in {**message, **changes}.items() if name not in nulls}


def _is_known(role: str, served: Served) -> bool:
    """Return whether the model can be told of a role: OpenAI's, or one that its own template names."""
    if role in _ROLES or served.is_upstream:
        return True
    return served.template is not None and any(f"{quote}{role}{quote}" in served.template for quote in "'\"")


def _without_content(role: str, where: str) -> JsonObject:
    """Return what stands for the words of a message that has none: an answer may have been empty, a question not."""
    if role in ("assistant", "tool"):
        return {"content": ""}
    raise InputError(f"{where} has no 'content'", remedy="Send a text, or a list of parts")


def _content(content: JsonValue, where: str, served: Served) -> JsonValue:
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InputError(f"{where} is {shown(content)}", remedy="Send a text, or a list of parts")
    parts = [_part(part, f"{where}[{number}]", served) for number, part in enumerate(content)]
    return content if all(new is old for new, old in zip(parts, content, strict=True)) else parts


def _part(part: JsonValue, where: str, served: Served) -> JsonValue:
    if not isinstance(part, dict) or not isinstance(kind := part.get("type"), str):
        raise InputError(f"{where} has no 'type'", remedy='Send {"type": "text", "text": "…"}')
    if kind in _TEXTS:
        if not isinstance(text := part.get(kind), str):
            raise InputError(f"{where}.{kind} must be a string, not {shown(text)}")
        return part if kind == "text" or served.is_upstream else {"type": "text", "text": text}
    if served.is_upstream:
        return part
    if kind not in _MEDIA:
        raise InputError(f"{where} is of type {shown(kind)}, which is not supported", remedy="Send text or a picture")
    value = part.get(kind)
    if isinstance(value, str):
        return {**part, kind: {"url": value}}
    if not isinstance(value, dict) or not any(isinstance(value.get(name), str) for name in ("url", "data")):
        raise InputError(f"{where}.{kind} has no data", remedy='Send {"url": "data:image/png;base64,…"}, for example')
    return part


def _calls(calls: JsonValue, where: str, served: Served) -> JsonValue:
    if not isinstance(calls, list):
        raise InputError(f"{where} must be a list, not {shown(calls)}")
    told = [_call(call, f"{where}[{number}]", served) for number, call in enumerate(calls)]
    return calls if all(new is old for new, old in zip(told, calls, strict=True)) else told


def _call(call: JsonValue, where: str, served: Served) -> JsonValue:
    if not isinstance(call, dict):
        raise InputError(f"{where} must be a call, not {shown(call)}")
    kind, function = call.get("type"), call.get("function")
    if kind not in (None, "function"):
        if served.is_upstream:
            return call
        raise InputError(f"{where} is of type {shown(kind)}, which is not supported", remedy="Send functions")
    if not isinstance(function, dict):
        raise InputError(f"{where} has no 'function'", remedy='Send {"name": "…", "arguments": "{}"}')
    if not isinstance(function.get("name"), str):
        raise InputError(f"{where}.function has no 'name'")
    if not isinstance(call.get("id"), str | None):
        raise InputError(f"{where}.id must be a string, not {shown(call['id'])}")
    arguments = function.get("arguments")
    meant = _arguments(arguments)
    if kind == "function" and meant is arguments and call.get("id", "") is not None:
        return call
    kept = {name: value for name, value in call.items() if value is not None}
    return {**kept, "type": "function", "function": {**function, "arguments": meant}}


def _arguments(value: JsonValue) -> JsonValue:
    """Return the arguments of a call as JSON that a template can read, for the model may have been cut in the middle.

    What is no JSON at all stays as a text, so that the next turn works, and the model sees what it wrote.
    """
    if isinstance(value, dict):
        return value
    if value is None or not isinstance(value, str) or not value.strip():
        return "{}" if value is None or isinstance(value, str) else json.dumps({"arguments": value})
    try:
        found = json.loads(value, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        fixed = closed(value)
        return _encoded({"arguments": value} if fixed is None else fixed)
    if not isinstance(found, dict):
        return _encoded({"arguments": found})
    encoded = _encoded(found) if _HALF.search(value) else ""
    return encoded if "?" in encoded and json.loads(encoded) != found else value


def _encoded(document: JsonObject) -> str:
    """Return JSON in which half a character, of one that was cut, is a question mark: an engine reads no such thing."""
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace").decode()
