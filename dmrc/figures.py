"""Numbers as people read them, in one spelling for the page and the terminal. What is not known is ""."""

from __future__ import annotations

import math

_COUNTS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_AGES = ((86400, "d"), (3600, "h"), (60, "min"))


def count_text(count: float | None) -> str:
    """Return a number of things: `812`, `9,431`, `325.4k`, `1.3M`."""
    if count is None or not math.isfinite(count):
        return ""
    if abs(count) < 9999.5:
        return f"{_rounded(count):,}"
    for size, letter in _COUNTS:
        # What rounds up to a thousand has the next letter: 1.0M and not 1000.0k.
        if abs(count) >= size * 0.99995:
            return f"{count / size:.1f}{letter}"
    raise AssertionError(count)


def span_text(milliseconds: float | None) -> str:
    """Return a time span: `0.4 ms`, `117 ms`, `1.20 s`, `12.3 s`, `4 min 18 s`, `2 h 5 min`."""
    if milliseconds is None or not math.isfinite(milliseconds):
        return ""
    span = max(milliseconds, 0.0)
    if span < 999.5:
        return f"{span:.1f} ms" if 0.05 <= span < 9.95 else f"{_rounded(span)} ms"
    if span < 59_950:
        return f"{span / 1000:.2f} s" if span < 9_995 else f"{span / 1000:.1f} s"
    seconds = _rounded(span / 1000)
    if seconds < 3600:
        return _two(seconds, 60, "min", "s")
    if seconds < 86400:
        return _two(_rounded(seconds / 60), 60, "h", "min")
    return _two(_rounded(seconds / 3600), 24, "d", "h")


def share_text(share: float | None) -> str:
    """Return a part of a whole: `12 %`; `<1 %` for little, and `>99 %` for what is not all."""
    if share is None or not math.isfinite(share):
        return ""
    if 0 < share < 0.005:
        return "<1 %"
    if 0.995 <= share < 1:
        return ">99 %"
    return f"{_rounded(share * 100)} %"


def ago_text(seconds: float | None) -> str:
    """Return how long ago: `just now`, `12 s ago`, `4 min ago`, `3 h ago`, `2 d ago`."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 1:
        return "just now"
    for length, unit in _AGES:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return f"{seconds // 1:.0f} s ago"


def _rounded(value: float) -> int:
    """Return the nearest whole number, and of two the upper one, as browsers do: the page has the same figures."""
    return math.floor(value + 0.5)


def _two(count: int, size: int, large: str, small: str) -> str:
    """Return a span in two units; the smaller one is left out where it is nothing."""
    whole, rest = divmod(count, size)
    return f"{whole} {large} {rest} {small}" if rest else f"{whole} {large}"
