"""How alike two texts are, word by word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_WORD = re.compile(r"\w+|[^\w\s]")
_PIECE = re.compile(r"\s+|\w+|[^\w\s]")
# The exact way takes the product of both lengths.
_MOST_WORDS = 1000


def likeness(one: str, other: str) -> float:
    """Return how alike two texts are: 0 no word in common, 1 the same words in the same order.

    Of texts of more than a thousand words the order is not looked at.
    """
    words, others = _WORD.findall(one), _WORD.findall(other)
    if words == others:
        return 1.0
    if max(len(words), len(others)) > _MOST_WORDS:
        return 2 * (Counter(words) & Counter(others)).total() / (len(words) + len(others))
    from difflib import SequenceMatcher

    return SequenceMatcher(None, words, others, autojunk=False).ratio()


@dataclass(frozen=True, slots=True)
class TextPart:
    """Some words that belong together: the other text has them, or has not."""

    text: str
    """Its words, with the spaces between them."""
    is_common: bool
    """Whether the other text has it in this place, too."""


def side_by_side(one: str, other: str) -> tuple[list[TextPart], list[TextPart]]:
    """Return both texts in pieces, so that what is in one only can be marked; very long ones are one piece each."""
    words, others = _PIECE.findall(one), _PIECE.findall(other)
    if max(len(words), len(others)) > 2 * _MOST_WORDS:
        return [TextPart(one, is_common=one == other)], [TextPart(other, is_common=one == other)]
    from difflib import SequenceMatcher

    codes = SequenceMatcher(None, words, others, autojunk=False).get_opcodes()
    left = [TextPart("".join(words[a:b]), kind == "equal") for kind, a, b, _, _ in codes]
    right = [TextPart("".join(others[c:d]), kind == "equal") for kind, _, _, c, d in codes]
    return list(_filled(left)), list(_filled(right))


def _filled(pieces: list[TextPart]) -> Iterator[TextPart]:
    return (piece for piece in pieces if piece.text)
