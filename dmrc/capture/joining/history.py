"""The messages of a request as bytes to be hashed: alike for all dialects, however clients space and split them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.capture.conversation import Message
from dmrc.capture.joining.fragments import WHITESPACE

_SYSTEM = ("system", "developer")
_TOOL = ("tool", "function")


@dataclass(frozen=True, slots=True)
class ChatHistory:
    """What was said up to a request, without system prompts."""

    parts: tuple[bytes, ...]
    """One for each message; answers that follow each other are one, since the Responses have their items apart."""
    answer_ends: tuple[int, ...]
    """Numbers of parts that end with an answer, the newest first."""
    turns: tuple[tuple[bytes, ...], ...]
    """For each answer, the message before it and the answer itself; the newest first."""


def read_history(messages: Sequence[Message]) -> ChatHistory:
    """Return the messages as parts."""
    parts: list[bytes] = []
    ends: list[int] = []
    is_open = False  # whether the last part is an answer
    for message in messages:
        if message.role in _SYSTEM:
            continue
        said = _said(message)
        if message.role != "assistant":
            parts.append((b"t:" if message.role in _TOOL else b"u:") + said + b"\0")
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
    return ChatHistory(tuple(parts), tuple(ends), tuple(tuple(parts[max(end - 2, 0) : end]) for end in ends))


def _said(message: Message) -> bytes:
    text = message.text.encode("utf-8", "replace").translate(None, WHITESPACE)
    calls = (f"\n{call.name}{_ordered(call.arguments)}" for call in message.calls)
    return text + "".join(calls).encode("utf-8", "replace") if message.calls else text


def _ordered(arguments: str) -> str:
    """Return arguments as one spelling: clients read them as objects and write them again."""
    try:
        return json.dumps(json.loads(arguments), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return "".join(arguments.split())
