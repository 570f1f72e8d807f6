"""How the pieces of a stream are written: what nearly all have around their words once, and of each its words.

A piece of a stream is some 250 bytes of which five are words. With the rest written once, a diff of a cassette shows
words, and the file is a tenth as large. What does not fit is written as it is, so that nothing is lost.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from dmrc.fields import JsonValue

Frame = tuple[str, str]
"""What stands before and after the words of a piece, the quotes of their JSON string among it."""

_TRIED = 8


def frame_of(pieces: Sequence[str]) -> Frame | None:
    """Return the frame that most pieces have; None where fewer than three have one."""
    counted: Counter[Frame] = Counter()
    # Neighbours have the same frame: of a long stream some are enough to find it.
    step = max(1, len(pieces) // 64)
    for first, second in zip(pieces[::step], pieces[1::step], strict=False):
        if (frame := _common(first, second)) is not None:
            counted[frame] += 1
    for frame, _ in counted.most_common(_TRIED):
        if sum(words_in(frame, piece) is not None for piece in pieces) >= min(3, len(pieces)) and len(pieces) > 2:
            return frame
    return None


def words_in(frame: Frame, piece: str) -> str | None:
    """Return the words of a piece; None where it has not this frame, or would not be the same when put together."""
    before, after = frame
    if not piece.startswith(before) or not piece.endswith(after) or len(piece) < len(before) + len(after):
        return None
    try:
        words = json.loads(f'"{piece[len(before) : len(piece) - len(after)]}"')
    except ValueError:
        return None
    return words if isinstance(words, str) and framed(frame, words) == piece else None


def framed(frame: Frame, words: str) -> str:
    """Return the piece with these words."""
    return f"{frame[0]}{json.dumps(words, ensure_ascii=False)[1:-1]}{frame[1]}"


def frame_from(value: JsonValue) -> Frame | None:
    """Read a frame as a line of a cassette has it: a list of two texts.

    Raises:
        ValueError: It is something else.
    """
    match value:
        case None:
            return None
        case [str(before), str(after)]:
            return before, after
    raise ValueError("'frame' is not a list of two texts")


def _common(first: str, second: str) -> Frame | None:
    """Return what two pieces have around the one JSON string by which they differ."""
    before = _beginning(first, second)
    before = before[: before.rfind('"') + 1]
    rest = first[len(before) :], second[len(before) :]
    after = _beginning(rest[0][::-1], rest[1][::-1])[::-1]
    after = after[after.find('"') :] if '"' in after else ""
    return (before, after) if before and after and first != second else None


def _beginning(first: str, second: str) -> str:
    """Return what both texts begin with."""
    shorter = min(len(first), len(second))
    end = next((index for index in range(shorter) if first[index] != second[index]), shorter)
    return first[:end]
