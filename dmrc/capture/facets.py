"""What the newest requests of a filter have in common: counts of their values, and percentiles of their times."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dmrc.capture.queries import ExchangeFilter, page_statement
from dmrc.capture.schema import CANCELLED, FAILED, SLOW, reading

NEWEST = 10_000
"""How many requests are looked at: a count of all would read a record of a million for seconds."""

_VALUES = {
    "project": "project",
    "service": "service",
    "model": "coalesce(model_key, model_reference, model_requested)",
    "status": "status",
    "operation": "operation",
}
"""Facets, each with what it counts."""

_QUICK = {"errors": FAILED, "slow": SLOW, "cancelled": CANCELLED}
_MEASURES = ("total_ms", "first_token_ms", "prompt_tokens", "completion_tokens")
_MOST_VALUES = 12


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of times in milliseconds; None where none is known."""

    p50: float | None = None
    """Half of the requests took less."""
    p95: float | None = None
    """Of 20 requests 19 took less."""


@dataclass(frozen=True, slots=True)
class Facets:
    """What the newest requests of a filter come to."""

    looked_at: int = 0
    """How many were looked at: all that match, or `NEWEST`."""
    has_more: bool = False
    """Whether there are older ones, which were not."""
    oldest: float | None = None
    """When the oldest of them came, in Unix seconds; None where there is none."""
    values: Mapping[str, Sequence[tuple[str | int, int]]] = field(default_factory=dict)
    """For each facet its values with how many requests have them, the most frequent first.

    Those of a facet that the filter names are counted without that condition: they are what one may choose instead.
    """
    quick: Mapping[str, int] = field(default_factory=dict)
    """How many failed (`errors`), were slow, or were cancelled."""
    prompt_tokens: int = 0
    """Tokens in."""
    completion_tokens: int = 0
    """Tokens out."""
    total: Percentiles = Percentiles()
    """Of the time to the last byte."""
    first_token: Percentiles = Percentiles()
    """Of the time to the first token."""


def facets_of(path: Path, query: ExchangeFilter, newest: int = NEWEST) -> Facets:
    """Return what the newest requests of a filter come to: one walk of an index, and one for each facet it names.

    Blocks. Raises:
        StoreError: As `ExchangeDatabase` does.
    """
    with reading(path) as connection:
        return Facets() if connection is None else _read(connection, query, newest)


def _read(connection: sqlite3.Connection, query: ExchangeFilter, newest: int) -> Facets:
    columns = ("received_at", *_VALUES.values(), *_QUICK.values(), *_MEASURES)
    rows = _walk(connection, query, newest + 1, columns)
    has_more, rows = len(rows) > newest, rows[:newest]
    received, *others = zip(*rows, strict=True) if rows else ((),) * len(columns)
    values, quick, measures = others[:5], others[5:8], others[8:]
    total, first, prompt, completion = measures
    counted = dict(zip(_VALUES, map(_most_frequent, values), strict=True))
    for name, column in _VALUES.items():
        if getattr(query, name) is not None:
            no_condition: Any = {name: None}
            without = _walk(connection, replace(query, **no_condition), newest, (column,))
            counted[name] = _most_frequent([value for (value,) in without])
    return Facets(
        looked_at=len(rows),
        has_more=has_more,
        oldest=min(received, default=None),
        values=counted,
        quick={name: sum(filter(None, flags)) for name, flags in zip(_QUICK, quick, strict=True)},
        prompt_tokens=sum(filter(None, prompt)),
        completion_tokens=sum(filter(None, completion)),
        total=_percentiles(total),
        first_token=_percentiles(first),
    )


def _walk(
    connection: sqlite3.Connection, query: ExchangeFilter, limit: int, columns: Sequence[str]
) -> list[tuple[str | int | float | None, ...]]:
    statement, values = page_statement(query, limit, None, ", ".join(columns))
    return connection.execute(statement, values).fetchall()


def _most_frequent(values: Sequence[object]) -> list[tuple[str | int, int]]:
    counts = Counter(value for value in values if isinstance(value, str | int))
    return counts.most_common(_MOST_VALUES)


def _percentiles(times: Sequence[float | None]) -> Percentiles:
    known = sorted(time for time in times if time is not None)
    if not known:
        return Percentiles()
    return Percentiles(*(known[min(int(len(known) * part), len(known) - 1)] for part in (0.5, 0.95)))
