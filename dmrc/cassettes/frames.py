"""How the pieces of a stream are written: what nearly all have around their words once, and of each its words.

A piece of a stream is some 250 bytes of which five are words. With the rest written once, a diff of a cassette shows
words, and the file is a tenth as large. What does not fit is written as it is, so that nothing is lost.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence

from dmrc.fields import JsonValue

Frame = tuple[str, ...]
"""The texts before, between and after the values in which pieces differ; the quotes of a JSON string are among them.

Shape: `('data: {"delta":{"content":"', '"}}\\n\\n')` of pieces that differ in words alone.
Ollama's differ in a time and in words, those of the Responses in a number and in words.
"""

Holes = list[JsonValue]
"""The values of one piece, in their order: texts and numbers."""

_VALUE = re.compile(r'(?<=[:\[,{ ])(?:"(?:[^"\\]|\\.)*+"(?!\s*:)|-?\d[\d.eE+-]*+)(?=\s?[,}\]])')
_TEXT, _NUMBER = re.compile(r'(?:[^"\\]|\\.)*+'), re.compile(r"-?\d[\d.eE+-]*+")
_LEAST = 3
_TRIED = 8
_LONGEST = 64 << 10


def frame_of(pieces: Sequence[str]) -> Frame | None:
    """Return the frame that most pieces have; None where fewer than three have one."""
    split = [_split(piece) for piece in pieces if len(piece) <= _LONGEST]
    kinds = Counter(tuple(parts[::2]) for parts in split if len(parts) > 1)
    for kind, count in kinds.most_common(_TRIED):
        if count < _LEAST:
            break
        frame = _frame([parts for parts in split if tuple(parts[::2]) == kind])
        if frame is not None:
            return frame
    return None


def holes_in(frame: Frame, piece: str, *, ascii_only: bool) -> Holes | None:
    """Return the values of a piece; None where it has not this frame, or would not be the same when put together."""
    holes = _holes(frame, piece)
    return holes if holes is not None and framed(frame, holes, ascii_only=ascii_only) == piece else None


def words_in(frame: Frame, piece: str) -> str | None:
    """Return the words of a piece, which are the last of its texts; None where it has not this frame."""
    texts = [hole for hole in _holes(frame, piece) or () if isinstance(hole, str)]
    return texts[-1] if texts else None


def framed(frame: Frame, holes: Sequence[JsonValue], *, ascii_only: bool) -> str:
    """Return the piece with these values; `ascii_only`: other characters are escaped in it.

    Raises:
        ValueError: They are not as many as the frame has room for, or of another kind.
    """
    if len(holes) != len(frame) - 1:
        raise ValueError(f"{json.dumps(holes)[:80]} are not {len(frame) - 1} values, as the frame has them")
    parts = [frame[0]]
    for number, hole in enumerate(holes):
        if isinstance(hole, str) != _is_text(frame, number) or isinstance(hole, bool | None | list | dict):
            raise ValueError(f"{json.dumps(hole)[:80]} does not fit the frame")
        written = json.dumps(hole, ensure_ascii=ascii_only)
        parts += (written[1:-1] if isinstance(hole, str) else written, frame[number + 1])
    return "".join(parts)


def frame_from(value: JsonValue) -> Frame | None:
    """Read a frame as a line of a cassette has it: a list of two texts or more.

    Raises:
        ValueError: It is something else.
    """
    if value is None:
        return None
    texts = [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
    if not isinstance(value, list) or len(value) < 2 or len(texts) != len(value):
        raise ValueError("'frame' is not a list of two texts or more")
    return tuple(texts)


def _split(piece: str) -> list[str]:
    """Return what stands around the JSON values in a piece, and the values: every second one."""
    parts: list[str] = []
    position = 0
    for match in _VALUE.finditer(piece):
        parts += (piece[position : match.start()], match[0])
        position = match.end()
    return [*parts, piece[position:]]


def _frame(alike: Sequence[list[str]]) -> Frame | None:
    """Return the frame of pieces that differ in values alone; None where these are of several kinds, or all equal."""
    frame = [alike[0][0]]
    for place in range(1, len(alike[0]), 2):
        first, after = alike[0][place], alike[0][place + 1]
        if all(parts[place] == first for parts in alike):
            frame[-1] += first + after
            continue
        quotes = {'"' if parts[place].startswith('"') else "" for parts in alike}
        if len(quotes) != 1:
            return None
        (quote,) = quotes
        frame[-1] += quote
        frame.append(quote + after)
    return tuple(frame) if len(frame) > 1 else None


def _holes(frame: Frame, piece: str) -> Holes | None:
    if not piece.startswith(frame[0]):
        return None
    holes: Holes = []
    position = len(frame[0])
    for number, after in enumerate(frame[1:]):
        is_text = _is_text(frame, number)
        match = (_TEXT if is_text else _NUMBER).match(piece, position)
        if match is None or not piece.startswith(after, match.end()):
            return None
        try:
            holes.append(json.loads(f'"{match[0]}"' if is_text else match[0]))
        except ValueError:
            return None
        position = match.end() + len(after)
    return holes if position == len(piece) else None


def _is_text(frame: Frame, number: int) -> bool:
    return frame[number].endswith('"') and frame[number + 1].startswith('"')
