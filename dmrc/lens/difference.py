"""Where a prompt differs first from a former one, and how much of the former one it has all the same. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.common_beginning import first_difference
from dmrc.fields import JsonObject
from dmrc.lens.changes import ChangeKind, changed_thing
from dmrc.lens.prompt import Prompt, PromptPiece

AROUND = 40
"""Characters of a text that are shown before and after the first one that differs."""

_WORD = re.compile(r"\S+")
_TOGETHER = 4
"""So many words in a row, which stand in both texts, are no chance."""

_LONGEST_TEXT = 20_000


@dataclass(frozen=True, slots=True)
class PromptDifference:
    """The first place where a prompt is not as the former one was."""

    kind: ChangeKind
    """What is different there."""
    piece: PromptPiece
    """Where; of what is missing now, the piece of the former prompt."""
    at: int | None
    """Index of the first character of the piece's text that differs; None where the piece as a whole is another."""
    begins: int | None
    """Index where the thing begins that changes, as the clock in which one digit differs; None likewise."""
    before: str | None
    """The former text around that place; None where there was nothing."""
    now: str | None
    """The text around that place; None where there is nothing."""
    count: int = 1
    """How many pieces are missing or more."""
    kept: float = 0.0
    """Which share of the longer text is as it was, at its beginning and at its end."""

    def to_json(self) -> JsonObject:
        """Return it for programs; places of characters count from 0."""
        return {
            "kind": self.kind,
            "place": self.piece.place,
            "of": self.piece.kind,
            "number": self.piece.number,
            "role": self.piece.role,
            "part": self.piece.part or None,
            "at": self.at,
            "begins": self.begins,
            "before": self.before,
            "now": self.now,
            "count": self.count,
        }


@dataclass(frozen=True, slots=True)
class PromptComparison:
    """Two prompts beside one another; sizes are characters."""

    difference: PromptDifference | None
    """The first; None where one prompt begins the other."""
    same_before: int
    """How much is the same up to there: what a cache of prefixes can give."""
    same_after: int
    """How much of what follows stands in the former prompt too, and is computed again for being in another place."""
    same_parameters: bool
    """Whether the fields are the same by which a template may write other words."""


def compare(before: Prompt, now: Prompt) -> PromptComparison:
    """Compare a prompt with a former one: system messages, then tools, then what was said."""
    same_parameters = before.parameters == now.parameters
    size = 0
    for kind in ("system", "tool", "message"):
        old, new = ([piece for piece in one.pieces if piece.kind == kind] for one in (before, now))
        at = _first(old, new)
        size += sum(piece.size for piece in new[:at])
        if at == len(old) == len(new) or (kind == "message" and at in (len(old), len(new))):
            continue
        found = _difference(old, new, at)
        rests = (list(one.pieces[_index(one, part, at) :]) for one, part in ((before, old), (now, new)))
        return PromptComparison(
            found, size + (found.at or 0), _common(next(rests), next(rests), found.at), same_parameters
        )
    return PromptComparison(None, size, 0, same_parameters)


def _index(prompt: Prompt, part: Sequence[PromptPiece], at: int) -> int:
    """Return which piece of a prompt is number `at` of a part of it; of an empty part, its first one behind."""
    if at < len(part):
        return prompt.pieces.index(part[at])
    if part:
        return prompt.pieces.index(part[-1]) + 1
    return sum(piece.kind == "system" for piece in prompt.pieces)


def _first(old: Sequence[PromptPiece], new: Sequence[PromptPiece]) -> int:
    shorter = min(len(old), len(new))
    return next((at for at in range(shorter) if old[at].same != new[at].same), shorter)


def _difference(old: Sequence[PromptPiece], new: Sequence[PromptPiece], at: int) -> PromptDifference:
    """Return what two rows of pieces of one kind differ in from number `at` on."""
    was, has = [piece.same for piece in old[at:]], [piece.same for piece in new[at:]]
    if not was:
        return _whole("added", None, new[at], len(has))
    if not has:
        return _whole("removed", old[at], None, len(was))
    if len(was) > 1 and sorted(was) == sorted(has):
        return _whole("shuffled", old[at], new[at], len(has))
    is_message = old[at].kind == "message"
    if has[0] in was:
        dropped = len({piece.number for piece in old[at : at + was.index(has[0])]})
        return _whole("trimmed" if is_message and at == 0 else "removed", old[at], new[at], dropped)
    if was[0] in has:
        return _whole("added", old[at], new[at], has.index(was[0]))
    if len(has) > 1 and has[1] in was[2:]:
        return _whole("replaced", old[at], new[at], was.index(has[1]))
    one, two = old[at], new[at]
    if (one.kind == "tool" and one.role != two.role) or (one.role, one.part[:4]) != (two.role, two.part[:4]):
        return _whole("edited", one, two, 1)
    place = first_difference(one.text, two.text)
    kind, begins = changed_thing(one.text, two.text, place)
    same = place + first_difference(one.text[place:][::-1], two.text[place:][::-1])
    kept = same / max(1, len(one.text), len(two.text))
    return PromptDifference(kind, two, place, begins, around(one.text, place), around(two.text, place), kept=kept)


def _whole(kind: ChangeKind, old: PromptPiece | None, new: PromptPiece | None, count: int) -> PromptDifference:
    """Return a difference of whole pieces; what is only missing now stands at the piece that it was."""
    is_missing = new is None or (kind in ("removed", "trimmed") and old is not None)
    piece = old if is_missing and old is not None else new
    assert piece is not None  # noqa: S101 one of them is given
    shown = [None if one is None else around(one.text, 0) for one in (old, new)]
    return PromptDifference(kind, piece, None, None, shown[0], shown[1], count)


def _common(old: list[PromptPiece], new: list[PromptPiece], inside: int | None) -> int:
    """Return how many characters two rests have in common.

    Where the first pieces are one text that was changed, `inside` is the place of its first other character.
    """
    size, changed = 0, ("", "")
    if inside is not None:
        one, two = old[0].text[inside:], new[0].text[inside:]
        size = first_difference(one[::-1], two[::-1])
        changed = one[: len(one) - size], two[: len(two) - size]
        old, new = old[1:], new[1:]
    both = Counter(piece.same for piece in old) & Counter(piece.same for piece in new)
    rests = []
    for pieces, text in ((old, changed[0]), (new, changed[1])):
        left, texts = Counter(both), [text]
        for piece in pieces:
            if left[piece.same] > 0:
                left[piece.same] -= 1
                size += piece.size if pieces is new else 0
            else:
                texts.append(piece.text)
        rests.append("\n".join(texts)[:_LONGEST_TEXT])
    return size + _common_text(rests[0], rests[1])


def _common_text(old: str, new: str) -> int:
    """Return how many characters stand in both texts, as words of which several in a row are the same."""
    rows = [[match.span() for match in _WORD.finditer(text)] for text in (old, new)]
    known = Counter(_rows_of(old, rows[0]))
    size, until = 0, 0
    for at, row in enumerate(_rows_of(new, rows[1])):
        if known[row] > 0:
            known[row] -= 1
            start, end = rows[1][at][0], rows[1][at + _TOGETHER - 1][1]
            size += end - max(start, until)
            until = end
    return size


def _rows_of(text: str, words: Sequence[tuple[int, int]]) -> list[str]:
    plain = [text[start:end] for start, end in words]
    return [" ".join(plain[at : at + _TOGETHER]) for at in range(len(plain) - _TOGETHER + 1)]


def around(text: str, at: int) -> str:
    """Return the text around a place, in one line; dots say where there is more."""
    start, end = max(0, at - AROUND), at + AROUND
    shown = " ".join(text[start:end].splitlines())
    return f"{'…' if start else ''}{shown}{'…' if end < len(text) else ''}"
