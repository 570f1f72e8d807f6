"""Sentences and lines that are long enough to be known again in another text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain

from dmrc.capture.conversation import Message, ToolCall
from dmrc.json_values import parse_json

WHITESPACE = b" \t\r\n\v\f"
"""Left out of what is compared."""

# JSON within a text has its line ends as `\n`. After `:` stands what a transcript quotes: `Assistant: …`.
# It begins with one set of characters, by which a text is searched ten times as fast as by several ways to begin.
_END = re.compile(r"[.!?:;\r\n\\。！？；：](?:(?<=[\r\n。！？；：])|(?<=[.!?:;])[\"')\]*_]*\s|(?<=\\)[nrt])")
_AROUND = " \t\"'`*_#>-•–—()[]{}<>|/\\.,:;!?0123456789"
_SHORTEST = 24
_LEAST = 32
_LONGEST_MESSAGE = 8 << 10
_LONGEST_NEW = 16 << 10
_LONGEST_FORMER = 4 << 10
_KEPT = 6


def fragments_of(answers: Sequence[Message]) -> Iterator[bytes]:
    """Yield what later requests may quote of answers, with the texts among the arguments of their calls.

    How an answer of several sentences begins and ends is said in many: "Here is …", "Let me know if …".
    """
    for answer in answers:
        yield from _distinctive(list(_pieces(_core(answer.text))))
        for call in answer.calls:
            for text in _texts(call):
                yield from _distinctive(list(_pieces(text)))


def fragments_in(messages: Sequence[Message]) -> tuple[list[bytes], list[bytes]]:
    """Return the fragments since the last answer, and those before, of so much text as may be read of one request.

    The newest messages are read first.
    """
    new: list[bytes] = []
    former: list[bytes] = []
    found, left = new, _LONGEST_NEW
    for message in reversed(messages):
        if found is new and message.role == "assistant":
            found, left = former, _LONGEST_FORMER
        if left <= 0:
            continue
        text = message.text
        if len(text) > (most := min(left, _LONGEST_MESSAGE)):
            text = f"{text[: most // 2]}\n{text[-most // 2 :]}"
        left -= len(text)
        found += _pieces(text)
    return new, former


def spread(marks: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return a few, always the same ones, from all over a long answer."""
    return marks if len(marks) <= _KEPT else sorted(marks)[:_KEPT]


def _pieces(text: str) -> Iterator[bytes]:
    for piece in _END.split(text):
        if len(piece) >= _SHORTEST:
            packed = piece.strip(_AROUND).encode("utf-8", "replace").translate(None, WHITESPACE)
            if len(packed) >= _SHORTEST:
                yield packed


def _core(text: str) -> str:
    """Return an answer of several sentences or lines without the first and the last sentence."""
    text = text.strip()
    ends = list(_END.finditer(text))
    if len(ends) < 3:
        return text
    last = ends[-1].end() if text[-1] in ".!?" else len(text)
    return text[ends[0].end() if ends[0][0][0] in ".!?:" else 0 : last]


def _distinctive(pieces: Sequence[bytes]) -> Sequence[bytes]:
    """Return the pieces; none where all of them together are a few words."""
    return pieces if sum(map(len, pieces)) >= _LEAST else ()


def _texts(call: ToolCall) -> Iterator[str]:
    """Yield the texts among the arguments of a call: an agent that is called as a tool gets one as its prompt."""
    value = parse_json(call.arguments.encode("utf-8", "replace"))
    values = value.values() if isinstance(value, dict) else ()
    lists = (one if isinstance(one, list) else [one] for one in values)
    yield from (text for text in chain.from_iterable(lists) if isinstance(text, str))
