"""Ollama's `context`: a list of numbers by which a caller of `/api/generate` goes on with its conversation.

Ollama's own are the tokens of the conversation, which no other server reads. These hold its messages, so they need no
memory here, and live longer than the runner: compressed JSON, three bytes a number, after a mark and its length.
"""

from __future__ import annotations

import json
import zlib

from dmrc.errors import InputError
from dmrc.exchange import JsonValue

_MARK = 0x646D72
_WIDTH = 3
_LARGEST_BYTES = 16 << 20


def context_of(messages: list[JsonValue]) -> list[JsonValue]:
    """Return the numbers that hold the messages."""
    packed = zlib.compress(json.dumps(messages, ensure_ascii=False).encode("utf-8", "replace"), 1)
    padded = packed + bytes(-len(packed) % _WIDTH)
    words = (padded[start : start + _WIDTH] for start in range(0, len(padded), _WIDTH))
    return [_MARK, len(packed), *(int.from_bytes(word, "big") for word in words)]


def messages_of(context: JsonValue) -> list[JsonValue]:
    """Return the messages that the numbers hold; none for None and for an empty list.

    Raises:
        InputError: They are not of `context_of`.
    """
    if context is None or context == []:
        return []
    try:
        return _unpacked(context)
    except (ValueError, TypeError, OverflowError, zlib.error, RecursionError) as error:
        raise InputError(
            "'context' is not one that dmrc has given", remedy="Send that of an earlier answer, or leave it out"
        ) from error


def _unpacked(context: JsonValue) -> list[JsonValue]:
    if not isinstance(context, list) or context[0] != _MARK:
        raise ValueError("another server's")
    length, *words = (int(number) for number in context[1:] if isinstance(number, int))
    packed = b"".join(word.to_bytes(_WIDTH, "big") for word in words)[:length]
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(packed, _LARGEST_BYTES)
    if not unpacker.eof:
        raise ValueError("cut, or too large")
    messages = json.loads(text)
    if not isinstance(messages, list):
        raise ValueError("no list")
    return messages
