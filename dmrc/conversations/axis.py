"""The time axis of a conversation: seconds of work are drawn to scale, and hours of silence are a gap. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dmrc.figures import span_text

WIDTH = 100.0
"""Of the drawing: per cent."""

_LEAST_GAP_MS = 1000.0
_GAP_SHARE = 0.15
"""Silence that is longer than this share of all work is a gap."""
_GAP_WIDTH = 3.0
_ALL_GAPS_WIDTH = 30.0
_STEPS = (1.0, 2.0, 5.0)
_SECONDS_STEPS = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0)


@dataclass(frozen=True, slots=True)
class AxisPiece:
    """A span of time that is drawn to scale."""

    start_ms: float
    """Milliseconds from the beginning of the conversation."""
    end_ms: float
    """Likewise."""
    left: float
    """Where it begins, of `WIDTH`."""
    width: float
    """How wide it is."""


@dataclass(frozen=True, slots=True)
class AxisMark:
    """Something on the axis."""

    at: float
    """Where, of `WIDTH`."""
    text: str
    """What it says: `1.5 s`."""


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Where each moment is drawn."""

    pieces: tuple[AxisPiece, ...]
    """In their order; between two of them is a gap."""
    gaps: tuple[AxisMark, ...]
    """The middle of each gap, and how long it is."""

    @classmethod
    def of(cls, spans: Iterable[tuple[float, float]]) -> TimeAxis:
        """Make the axis for spans of time in which something happens, in milliseconds."""
        busy = _merged(sorted(spans), 0.0)
        work = sum(end - start for start, end in busy)
        busy = _merged(busy, max(_LEAST_GAP_MS, work * _GAP_SHARE))
        count = len(busy) - 1
        gap = min(_GAP_WIDTH, _ALL_GAPS_WIDTH / count) if count > 0 else 0.0
        drawn, left = sum(end - start for start, end in busy), 0.0
        pieces: list[AxisPiece] = []
        gaps: list[AxisMark] = []
        for number, (start, end) in enumerate(busy):
            if number:
                gaps.append(AxisMark(left + gap / 2, span_text(start - busy[number - 1][1])))
                left += gap
            width = (end - start) / drawn * (WIDTH - gap * count) if drawn > 0 else (WIDTH - gap * count) / len(busy)
            pieces.append(AxisPiece(start, end, left, width))
            left += width
        return cls(tuple(pieces), tuple(gaps))

    def at(self, milliseconds: float) -> float:
        """Return where a moment is, of `WIDTH`; what is in a gap is at its beginning."""
        last = self.pieces[0]
        for piece in self.pieces:
            if piece.start_ms > milliseconds:
                break
            last = piece
        span = last.end_ms - last.start_ms
        share = (milliseconds - last.start_ms) / span if span > 0 else 0.0
        return last.left + min(max(share, 0.0), 1.0) * last.width

    def ticks(self, count: int) -> list[AxisMark]:
        """Return about `count` round times, told from the beginning of the conversation."""
        drawn = sum(piece.end_ms - piece.start_ms for piece in self.pieces)
        if drawn <= 0:
            return [AxisMark(self.pieces[0].left, _label(0.0))]
        step = _round_step(drawn / max(count, 1))
        return list(_apart(self._ticks(step), WIDTH / (count * 2)))

    def _ticks(self, step: float) -> Iterable[AxisMark]:
        for piece in self.pieces:
            number = math.ceil(piece.start_ms / step)
            while (at := number * step) <= piece.end_ms:
                yield AxisMark(self.at(at), _label(at))
                number += 1


def _label(milliseconds: float) -> str:
    """Return a round time: `0`, `200 ms`, `1.5 s`, `2 min`."""
    return re.sub(r"\.?0+ s$", " s", span_text(milliseconds)) if milliseconds > 0 else "0"


def _apart(marks: Iterable[AxisMark], least: float) -> Iterable[AxisMark]:
    """Yield marks that do not run into each other."""
    last = -WIDTH
    for mark in marks:
        if mark.at - last >= least:
            yield mark
            last = mark.at


def _round_step(milliseconds: float) -> float:
    """Return the next round span: 1, 2 or 5 of a power of ten, and above a second what clocks have."""
    if milliseconds > 1000:
        for unit in (1000.0, 60_000.0, 3_600_000.0):
            for step in _SECONDS_STEPS:
                if step * unit >= milliseconds:
                    return step * unit
    size = 1.0
    while size * _STEPS[-1] < milliseconds:
        size *= 10
    return next(step * size for step in _STEPS if step * size >= milliseconds)


def _merged(spans: Sequence[tuple[float, float]], distance: float) -> list[tuple[float, float]]:
    """Return the spans, which are sorted, with those joined that are no further apart than this."""
    merged: list[tuple[float, float]] = []
    for start, end in spans:
        if merged and start - merged[-1][1] <= distance:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, max(start, end)))
    return merged or [(0.0, 0.0)]
