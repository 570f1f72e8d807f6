"""Where two texts, or two lists of tokens, begin to differ."""

from __future__ import annotations

from typing import TypeVar

_S = TypeVar("_S", str, tuple[object, ...])


def first_difference(one: _S, other: _S) -> int:
    """Return the index of the first item that differs; the length of the shorter where it begins the longer.

    It is found by halves, each of which is compared at once: a long prompt is no loop over its characters.
    """
    if one == other:
        return len(one)
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
