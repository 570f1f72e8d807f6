"""How alike two texts are, word by word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence

# Chinese, Japanese and Thai put no spaces between words: there each character is one.
_SPACELESS = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
WORD = re.compile(rf"[{_SPACELESS}]|[^\W{_SPACELESS}]+|[^\w\s]")
"""A word, or a sign between words."""

MOST_PAIRS = 40_000
"""Of words that are compared one with another.

`difflib` takes time by the number of pairs of equal words, in the worst case many times over: two answers that say one
word a thousand times, as small models do, would take many seconds. Of prose these are some 1,500 words.
"""


def pairs_of(words: Sequence[Hashable], others: Sequence[Hashable]) -> int:
    """Return how many pairs of equal words there are."""
    counts = Counter(words)
    return sum(counts[word] * count for word, count in Counter(others).items())


def likeness(one: str, other: str) -> float:
    """Return how alike two texts are: 0 no word in common, 1 the same words in the same order.

    Of texts of thousands of words, and of those that repeat themselves, the order is not looked at.
    """
    words, others = WORD.findall(one), WORD.findall(other)
    if words == others:
        return 1.0
    if pairs_of(words, others) > MOST_PAIRS:
        return 2 * (Counter(words) & Counter(others)).total() / (len(words) + len(others))
    from difflib import SequenceMatcher

    return SequenceMatcher(None, words, others, autojunk=False).ratio()
