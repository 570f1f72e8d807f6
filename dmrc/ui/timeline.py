"""Where the time of a request went, in units of a drawing that is 1000 wide. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dmrc.exchange import Exchange

WIDTH = 1000.0
"""Of the drawing."""

_MOST_TICKS = 500


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of the time."""

    kind: str
    """`load`, `queue`, `prefill`, `decode`, or `unknown`, where nobody said when the first token was there."""
    name: str
    """What it is called."""
    milliseconds: float
    """How long."""
    left: float
    """Where it begins, of `WIDTH`."""
    width: float
    """How wide it is."""


def segments(exchange: Exchange) -> list[Segment]:
    """Return the parts in their order; none where the times are not known."""
    total = exchange.total_ms or 0.0
    if total <= 0:
        return []
    load, queue = exchange.load_ms or 0.0, exchange.queue_ms or 0.0
    first = exchange.first_token_ms
    spans = {"load": load, "queue": queue}
    if first is None:
        spans["unknown"] = total - load - queue
    else:
        spans |= {"prefill": first - load - queue, "decode": total - first}
    unknown = f"waiting for the {'upstream' if exchange.engine == 'upstream' else 'answer'}"
    found, left = [], 0.0
    for kind, span in spans.items():
        width = max(0.0, min(span / total * WIDTH, WIDTH - left))
        if width > 0:
            name = unknown if kind == "unknown" else kind
            found.append(Segment(kind, name, span, round(left, 2), round(width, 2)))
            left += width
    return found


def ticks(exchange: Exchange) -> list[float]:
    """Return where each piece of a stream lies on the time axis; of very many only some."""
    total = exchange.total_ms or 0.0
    offsets = exchange.chunk_offsets
    if total <= 0 or len(offsets) < 2:
        return []
    step = -(-len(offsets) // _MOST_TICKS)
    return [round(min(at / total, 1.0) * WIDTH, 2) for at, _ in offsets[::step]]
