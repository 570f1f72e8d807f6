"""The rows of the list of requests, as HTML."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from dmrc.capture.live import Started
from dmrc.capture.summary import Cells, cells, outcome, running_cells
from dmrc.exchange import FAULT, REPLAYED, Exchange
from dmrc.figures import count_text
from dmrc.ui.rendering import render
from dmrc.ui.timeline import WIDTH, Segment, segments

_LEAST_SHARE = 0.02
"""Of the width of a bar: a request of a millisecond is seen beside those of minutes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One request in the list, and what its cells lead to."""

    id: str
    """Id of its exchange."""
    state: str
    """`running`, `done`, `failed`, `cancelled`, `replayed` or `fault`."""
    cells: Cells
    """What it shows."""
    of_service: str
    """The filter of those of the same service, as an address has it; "" where it has none."""
    of_model: str
    """The filter of those of the same model, likewise."""
    received_at: float
    """Unix seconds."""
    total_ms: float | None = None
    """How long it took; None while it runs, and where nobody knows."""
    segments: Sequence[Segment] = ()
    """Where its time went."""
    scale: float = WIDTH
    """How wide the drawing of its time is: `WIDTH` for the longest of the list, more for shorter ones."""
    context: str = ""
    """How many tokens of its context it used, in words."""


def completed_row(exchange: Exchange, excerpt: str, longest_ms: float | None = None) -> dict[str, str]:
    """Return the row of an exchange that ended; its bar is drawn for a list in which the longest took `longest_ms`."""
    total = exchange.total_ms
    share = min(max(total / longest_ms, _LEAST_SHARE), 1.0) if total and longest_ms else 1.0
    model = exchange.model_key or exchange.model_reference or exchange.model_requested
    return _shown(
        Row(
            id=exchange.id,
            state=state(exchange),
            cells=cells(exchange, excerpt),
            of_service=_filter(project=exchange.project, service=exchange.service),
            of_model=_filter(model=model),
            received_at=exchange.received_at,
            total_ms=total,
            segments=segments(exchange),
            scale=round(WIDTH / share, 1),
            context=_context(exchange),
        )
    )


def running_row(started: Started) -> dict[str, str]:
    """Return the row of a request that has not ended."""
    return _shown(
        Row(
            id=started.id,
            state="running",
            cells=running_cells(started, "running"),
            of_service=_filter(project=started.project, service=started.service),
            of_model=_filter(model=started.model),
            received_at=started.received_at,
        )
    )


def state(exchange: Exchange) -> str:
    """Return how a request ended, as its badge is coloured."""
    ended = outcome(exchange)
    if ended == "done" and REPLAYED in exchange.annotations:
        return "replayed"
    return "fault" if ended == "failed" and isinstance(exchange.annotations.get(FAULT), str) else ended


def longest(totals: Sequence[float | None]) -> float | None:
    """Return the 95th percentile of times in milliseconds, for which bars are drawn; None where none is known."""
    known = sorted(total for total in totals if total)
    return known[min(int(len(known) * 0.95), len(known) - 1)] if known else None


def seen(exchanges: Sequence[Exchange]) -> str:
    """Return a word for the rows of these: a page that has seen the same ones need not get them again."""
    return hashlib.sha256(",".join(exchange.id for exchange in exchanges).encode()).hexdigest()[:16]


def _shown(row: Row) -> dict[str, str]:
    return {"id": row.id, "html": render("row.html", row=row)}


def _filter(**given: str | None) -> str:
    return urlencode({name: value for name, value in given.items() if value})


def _context(exchange: Exchange) -> str:
    if not exchange.context_tokens or exchange.prompt_tokens is None:
        return ""
    used = exchange.prompt_tokens + (exchange.completion_tokens or 0)
    return f"{count_text(used)} of {count_text(exchange.context_tokens)} tokens"
