"""The newest messages of a request as bytes to be hashed: alike in all dialects, however they are spaced and split."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

from dmrc.capture.conversation import parts_of
from dmrc.capture.joining.fragments import WHITESPACE
from dmrc.exchange import JsonValue
from dmrc.json_values import items_of, object_of

_SYSTEM = ("system", "developer")
_TOOL = ("tool", "function")
_MOST_MESSAGES = 32
_LONG_TEXT = 2000
_SAMPLE = 300


class RepeatedCall(NamedTuple):
    """A call of a tool in a message."""

    id: str
    """Or "" where the dialect has none."""
    name: str
    """Of the tool."""
    arguments: str
    """One spelling of the JSON, however a client wrote it."""


class ChatHistory(NamedTuple):
    """What was said at last, without system prompts."""

    parts: tuple[bytes, ...]
    """One for each message; answers that follow each other are one, since the Responses have their items apart."""
    answer_ends: tuple[int, ...]
    """Numbers of parts that end with an answer, the newest first."""


def read_history(messages: Sequence[Mapping[str, JsonValue]]) -> ChatHistory:
    """Return the newest messages, of which each is in the words of chat completions, as parts."""
    parts: list[bytes] = []
    ends: list[int] = []
    is_open = False  # whether the last part is an answer
    for message in messages[-_MOST_MESSAGES:]:
        role = message.get("role")
        if role in _SYSTEM:
            continue
        said = _said(message)
        if role != "assistant":
            parts.append((b"t:" if role in _TOOL else b"u:") + said + b"\0")
            is_open = False
        elif not said:
            continue  # thoughts alone, which many clients leave out
        elif is_open:
            parts[-1] = parts[-1][:-1] + said + b"\0"
        else:
            parts.append(b"a:" + said + b"\0")
            ends.append(len(parts))
            is_open = True
    ends.reverse()
    return ChatHistory(tuple(parts), tuple(ends))


def text_of(message: Mapping[str, JsonValue]) -> str:
    """Return the words of a message."""
    content = message.get("content") or message.get("refusal")
    return content if isinstance(content, str) else "\n".join(parts_of(content))


def calls_of(message: Mapping[str, JsonValue]) -> list[RepeatedCall]:
    """Return the calls of tools in a message."""
    return [_call(call) for call in items_of(message.get("tool_calls"))] if "tool_calls" in message else []


def _call(call: Mapping[str, JsonValue]) -> RepeatedCall:
    id, function = call.get("id"), object_of(call.get("function"))
    return RepeatedCall(
        id if isinstance(id, str) else "", str(function.get("name") or ""), _ordered(function.get("arguments"))
    )


def _said(message: Mapping[str, JsonValue]) -> bytes:
    """Return what a message says, of a long text its length and a checksum."""
    text = text_of(message)
    if len(text) > _LONG_TEXT:
        text = text.strip()
        text = f"{len(text)} {crc32(text.encode('utf-8', 'replace'))} {text[:_SAMPLE]}{text[-_SAMPLE:]}"
    said = text.encode("utf-8", "replace").translate(None, WHITESPACE)
    calls = calls_of(message)
    return said + "".join(f"\n{one.name}{one.arguments}" for one in calls).encode("utf-8", "replace") if calls else said


def _ordered(arguments: JsonValue) -> str:
    """Return arguments as one spelling: clients read them as objects and write them again; Ollama's are objects."""
    try:
        value = json.loads(arguments) if isinstance(arguments, str) else arguments
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return "".join(str(arguments).split())
