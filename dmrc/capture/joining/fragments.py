"""Sentences and lines that are long enough to be known again in another text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from zlib import crc32

from dmrc.json_values import parse_json

WHITESPACE = b" \t\r\n\v\f"
"""Left out of what is compared."""

# JSON within a text has its line ends as `\n`. After `:` stands what a transcript quotes: `Assistant: …`.
# It begins with one set of characters, by which a text is searched ten times as fast as by several ways to begin.
_END = re.compile(r"[.!?:;\r\n\\。！？；：](?:(?<=[\r\n。！？；：])|(?<=[.!?:;])[\"')\]*_]*\s|(?<=\\)[nrt])")
_AROUND = " \t\"'`*_#>-•–—()[]{}<>|/\\.,:;!?0123456789"
_PLAIN = re.compile(r"[ !#-\[\]-~]+")
_SHORTEST_PLAIN = 12
_SHORTEST = 24
_LEAST = 32
_LONGEST_MESSAGE = 8 << 10
_LONGEST_NEW = 16 << 10
_LONGEST_FORMER = 4 << 10
_KEPT = 6


def fragments_of(text: str, arguments: Sequence[str] = ()) -> list[str]:
    """Return what later requests may quote of an answer: a few pieces, always the same, from all over a long one.

    With the texts among the `arguments` of its calls, JSON each: an agent that is called as a tool gets one as prompt.
    How an answer of several sentences begins and ends is said in many: "Here is …", "Let me know if …".
    """
    found = _distinctive(_pieces_of_core(text))
    for one in arguments:
        for value in _texts(one):
            found |= _distinctive(_pieces(value))
    return [found[piece] for piece in (found if len(found) <= _KEPT else sorted(found, key=_spread)[:_KEPT])]


def fragments_in(messages: Sequence[tuple[bool, str]]) -> tuple[dict[bytes, str], dict[bytes, str]]:
    """Return the fragments since the last answer, and those before, of so much text as may be read of one request.

    `messages` tells of each whether it is an answer, and its text, the newest first.
    """
    new: dict[bytes, str] = {}
    former: dict[bytes, str] = {}
    found, left = new, _LONGEST_NEW
    for is_answer, text in messages:
        if found is new and is_answer:
            found, left = former, _LONGEST_FORMER
        if left <= 0:
            if found is former:
                break
            continue
        if len(text) > (most := min(left, _LONGEST_MESSAGE)):
            text = f"{text[: most // 2]}\n{text[-most // 2 :]}"
        left -= len(text)
        found |= _pieces(text)
    return new, former


def is_echo(piece: str, request_body: bytes) -> bool:
    """Return whether a piece of an answer stands in the body of its request: what echoes its prompt says nothing.

    Characters that JSON may have as escapes are not looked for.
    """
    plain = max(_PLAIN.findall(piece), key=len, default="")
    return len(plain) >= _SHORTEST_PLAIN and plain.encode() in request_body


def _spread(piece: bytes) -> int:
    """Return a number by which pieces are chosen, which has nothing to do with their place."""
    return crc32(piece)


def _pieces(text: str) -> dict[bytes, str]:
    """Return the pieces of a text, by their characters without spaces."""
    return _packed(_END.split(text)) if len(text) >= _SHORTEST else {}


def _packed(texts: Iterable[str]) -> dict[bytes, str]:
    found = {}
    for one in texts:
        if len(one) >= _SHORTEST:
            piece = one.strip(_AROUND)
            packed = piece.encode("utf-8", "replace").translate(None, WHITESPACE)
            if len(packed) >= _SHORTEST:
                found[packed] = piece
    return found


def _pieces_of_core(text: str) -> dict[bytes, str]:
    """Return the pieces of an answer; of several sentences or lines without the first and the last sentence."""
    text = text.strip()
    ends = list(_END.finditer(text))
    if len(ends) < 3:
        begins, stops = [0, *(one.end() for one in ends)], [*(one.start() for one in ends), None]
        return _packed(text[begin:stop] for begin, stop in zip(begins, stops, strict=True))
    last = ends[-1].end() if text[-1] in ".!?" else len(text)
    return _pieces(text[ends[0].end() if ends[0][0][0] in ".!?:" else 0 : last])


def _distinctive(pieces: dict[bytes, str]) -> dict[bytes, str]:
    """Return the pieces; none where all of them together are a few words."""
    return pieces if sum(map(len, pieces)) >= _LEAST else {}


def _texts(arguments: str) -> Iterator[str]:
    value = parse_json(arguments.encode("utf-8", "replace"))
    values = value.values() if isinstance(value, dict) else ()
    lists = (one if isinstance(one, list) else [one] for one in values)
    yield from (text for text in chain.from_iterable(lists) if isinstance(text, str))
