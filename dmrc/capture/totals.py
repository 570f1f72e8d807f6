"""Sums over the record, for a chart and for the projects: read in one walk, without the bodies."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dmrc.capture.queries import ExchangeFilter, where_clause
from dmrc.capture.schema import FAILED, reading
from dmrc.exchange import id_at


@dataclass(frozen=True, slots=True)
class Sums:
    """What some exchanges come to."""

    requests: int = 0
    """How many."""
    failed: int = 0
    """How many of them failed."""
    prompt_tokens: int = 0
    """Tokens in."""
    completion_tokens: int = 0
    """Tokens out."""
    tokens_per_second: float | None = None
    """Mean decode rate of those that have one."""
    first_token_ms: float | None = None
    """Mean time to the first token."""
    total_ms: float | None = None
    """Mean time to the last byte."""


@dataclass(frozen=True, slots=True)
class ServiceTotals:
    """What a service came to in a time."""

    parts: list[Sums]
    """The sums of equal spans of it, the oldest first."""
    p95_ms: float | None
    """What 95 of 100 of its requests took at most; None where none ended."""
    last_id: str | None
    """Its last request, at any time; None where there is none."""
    last_at: float | None
    """When that came, in Unix seconds."""


_SUMS = (
    f"count(*), coalesce(sum({FAILED}), 0), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),"
    " avg(completion_tokens_per_second), avg(first_token_ms), avg(total_ms)"
)


class Totals:
    """Reads the file of all exchanges. Each method blocks, and raises StoreError as `ExchangeDatabase` does."""

    def __init__(self, path: Path) -> None:
        """Name the file; one that is not there has no exchanges."""
        self._path = path

    def over_time(self, query: ExchangeFilter, start: float, end: float, buckets: int) -> list[Sums]:
        """Return the sums of `buckets` equal spans of time between two Unix seconds, the oldest first."""
        with reading(self._path) as connection:
            return _over_time(connection, *where_clause(query), (start, end), buckets)

    def first(self, query: ExchangeFilter, start: float, end: float) -> float | None:
        """Return when the first request between two Unix seconds came; None where there is none."""
        where, values = where_clause(query)
        statement = (
            f"SELECT received_at FROM exchanges WHERE {where} AND id >= ? AND id < ? AND received_at >= ?"  # noqa: S608
            " ORDER BY id LIMIT 1"
        )
        with reading(self._path) as connection:
            row = connection.execute(statement, [*values, id_at(start), id_at(end), start]) if connection else None
            found = None if row is None else row.fetchone()
        return None if found is None else float(found[0])

    def of_service(self, project: str, service: str | None, start: float, end: float, buckets: int) -> ServiceTotals:
        """Return what a service came to between two Unix seconds; None stands for who asks by the project's URL."""
        where, values = "project = ? AND service IS ?", [project, service]
        with reading(self._path) as connection:
            parts = _over_time(connection, where, values, (start, end), buckets)
            if connection is None:
                return ServiceTotals(parts, None, None, None)
            last = f"SELECT id, received_at FROM exchanges WHERE {where} ORDER BY id DESC LIMIT 1"  # noqa: S608
            last_id, last_at = connection.execute(last, values).fetchone() or (None, None)
            ended = f"FROM exchanges WHERE {where} AND id >= ? AND id < ? AND total_ms IS NOT NULL"
            bounds = [*values, id_at(start), id_at(end)]
            (count,) = connection.execute(f"SELECT count(*) {ended}", bounds).fetchone()
            slowest = f"SELECT total_ms {ended} ORDER BY total_ms LIMIT 1 OFFSET ?"
            (p95,) = connection.execute(slowest, [*bounds, max(0, -(-count * 95 // 100) - 1)]).fetchone() or (None,)
            return ServiceTotals(parts, p95, last_id, last_at)


def _over_time(
    connection: sqlite3.Connection | None, where: str, values: Sequence[object], span: tuple[float, float], buckets: int
) -> list[Sums]:
    """Return the sums of equal parts of a span of time; a file that is not there has none."""
    start, end = span
    width = max(end - start, 1.0) / buckets
    statement = (
        f"SELECT min(?, CAST((received_at - ?) / ? AS INTEGER)) AS bucket, {_SUMS} FROM exchanges"  # noqa: S608
        f" WHERE {where} AND id >= ? AND id < ? AND received_at >= ? GROUP BY bucket"
    )
    found = [Sums()] * buckets
    bounds = (id_at(start), id_at(end), start)
    rows = connection.execute(statement, [buckets - 1, start, width, *values, *bounds]) if connection else ()
    for bucket, *sums in rows:
        found[bucket] = Sums(*sums)
    return found


def together(parts: list[Sums]) -> Sums:
    """Return the sums of several spans as one; its means weigh each span by its requests."""
    requests = sum(part.requests for part in parts)

    def mean(name: str) -> float | None:
        known = [(getattr(part, name), part.requests) for part in parts if getattr(part, name) is not None]
        weight = sum(count for _, count in known)
        return sum(value * count for value, count in known) / weight if weight else None

    return Sums(
        requests=requests,
        failed=sum(part.failed for part in parts),
        prompt_tokens=sum(part.prompt_tokens for part in parts),
        completion_tokens=sum(part.completion_tokens for part in parts),
        tokens_per_second=mean("tokens_per_second"),
        first_token_ms=mean("first_token_ms"),
        total_ms=mean("total_ms"),
    )
