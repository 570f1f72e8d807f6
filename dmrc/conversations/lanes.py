"""Which request is drawn in which row of a waterfall: one lane for each service and model. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.conversations.turns import AppSpan, ConversationTurn


@dataclass(frozen=True, slots=True)
class Lane:
    """The requests of one service to one model."""

    service: str
    """Who asked."""
    model: str
    """Who was asked."""
    rows: tuple[tuple[ConversationTurn, ...], ...]
    """Requests that ran at the same time are in rows of their own."""
    spans: tuple[AppSpan, ...]
    """The application's own time behind these requests."""


def lanes(turns: Sequence[ConversationTurn], spans: Sequence[AppSpan]) -> list[Lane]:
    """Return the lanes, those of one service together, in the order of their first requests."""
    found: dict[tuple[str, str], list[list[ConversationTurn]]] = {}
    for turn in turns:
        rows = found.setdefault((turn.service, turn.model), [])
        free = next((row for row in rows if row[-1].end_ms <= turn.start_ms), None)
        if free is None:
            rows.append(free := [])
        free.append(turn)
    where = {turn.number: (turn.service, turn.model) for turn in turns}
    services = list(dict.fromkeys(turn.service for turn in turns))
    made = [
        Lane(*key, tuple(map(tuple, rows)), tuple(span for span in spans if where[span.after] == key))
        for key, rows in found.items()
    ]
    return sorted(made, key=lambda lane: services.index(lane.service))
