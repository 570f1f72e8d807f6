"""A stream as it came: when each piece of it was there, and what it says. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dmrc.dialects.dialect import AnswerReader
from dmrc.dialects.table import dialect_of
from dmrc.exchange import Exchange, JsonValue
from dmrc.json_bytes import read_line
from dmrc.json_values import items_of, object_of

MOST_PIECES = 200
"""Of a stream that are shown."""

_LONGEST_PIECE = 200
_READ_BYTES = 16 << 10
_TEXTS = ("content", "reasoning_content", "reasoning", "thinking", "refusal")


@dataclass(frozen=True, slots=True)
class StreamPiece:
    """One piece of a stream: what the engine sent at once."""

    at_ms: float
    """When it came, from the beginning of the request."""
    gap_ms: float
    """How long after the piece before."""
    said: str
    """The words in it; "" where it has none."""
    raw: str
    """Its bytes as text, or their beginning."""


def pieces(exchange: Exchange) -> list[StreamPiece]:
    """Return the first pieces of a stream; none where the answer was no stream."""
    return list(_pieces(exchange)) if exchange.stream and exchange.response_body else []


def _pieces(exchange: Exchange) -> Iterator[StreamPiece]:
    offsets, body = exchange.chunk_offsets[:MOST_PIECES], exchange.response_body
    ends = [start for _, start in exchange.chunk_offsets[1 : MOST_PIECES + 1]] + [len(body)]
    reader = dialect_of(exchange.dialect, exchange.operation).reader(exchange.operation)
    before = 0.0
    for (at, start), end in zip(offsets, ends, strict=False):
        raw = body[start : min(end, start + _LONGEST_PIECE)].decode("utf-8", "replace").strip()
        yield StreamPiece(at, at - before, _said(body[start : min(end, start + _READ_BYTES)], reader), raw)
        before = at


def _said(piece: bytes, reader: AnswerReader | None) -> str:
    words: list[str] = []
    for line in piece.splitlines():
        document = read_line(line.removeprefix(b"data:").strip())
        for choice in items_of((reader(document) if reader else document).get("choices")):
            words += _words(choice)
    return "".join(words)[:_LONGEST_PIECE]


def _words(choice: dict[str, JsonValue]) -> Iterator[str]:
    delta = object_of(choice.get("delta"))
    said = [choice.get("text"), *(delta.get(name) for name in _TEXTS)]
    for call in items_of(delta.get("tool_calls")):
        function = object_of(call.get("function"))
        said += [function.get("name"), function.get("arguments")]
    return (one for one in said if isinstance(one, str))
