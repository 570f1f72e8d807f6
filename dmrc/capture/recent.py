"""What the last hour of the record comes to, for the overview: read without bodies, by the ids of that time."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from dmrc.capture.schema import FAILED, reading
from dmrc.exchange import DIFF_SCOPE, id_at

_MOST_REASONS = 8
_MOST_SERVICES = 24
_SINCE = "FROM exchanges WHERE id >= :since"


@dataclass(frozen=True, slots=True)
class FailureReason:
    """Requests that failed alike."""

    status: int | None
    """HTTP status that their callers got."""
    error_type: str | None
    """`error.type` of their answers."""
    requests: int
    """How many."""
    message: str
    """What the newest of them says; "" where nothing is on record."""
    newest_id: str
    """Id of the newest of them."""
    newest_at: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class ServiceHour:
    """One service, or who else asks."""

    project: str | None
    """Its compose project."""
    service: str | None
    """Its name; None for requests that no service's key came with."""
    requests: int
    """How many."""
    failed: int
    """How many of them failed."""
    prompt_tokens: tuple[int, ...]
    """Tokens in, for each part of the time."""
    completion_tokens: tuple[int, ...]
    """Tokens out, for each part of the time."""


@dataclass(frozen=True, slots=True)
class Recent:
    """A span of time that ends now."""

    start: float
    """Unix seconds."""
    end: float
    """Unix seconds."""
    requests: tuple[int, ...]
    """Requests for each part of the time, the oldest first."""
    failed: tuple[int, ...]
    """How many of them failed."""
    p50_ms: float | None
    """Half of the answered ones took no longer than this; None where none was answered."""
    p95_ms: float | None
    """95 % of them took no longer."""
    services: tuple[ServiceHour, ...]
    """The one with the most tokens first."""
    failures: tuple[FailureReason, ...]
    """The most frequent first."""


def read_recent(path: Path, start: float, end: float, parts: int) -> Recent:
    """Return what the time between two Unix seconds comes to. It blocks, and raises StoreError as the database does."""
    width = max(end - start, 1.0) / parts
    given = {"since": id_at(start), "start": start, "width": width, "last": parts - 1, "diff": f"{DIFF_SCOPE}%"}
    with reading(path) as connection:
        if connection is None:
            return Recent(start, end, (0,) * parts, (0,) * parts, None, None, (), ())
        services = _services(connection, given, parts)
        requests, failed = _requests(connection, given, parts)
        p50, p95 = _percentiles(connection, given)
        return Recent(start, end, requests, failed, p50, p95, services, _failures(connection, given))


def is_empty(path: Path) -> bool:
    """Return whether nothing was ever recorded. It blocks."""
    with reading(path) as connection:
        return connection is None or connection.execute("SELECT 1 FROM exchanges LIMIT 1").fetchone() is None


_BUCKET = "max(0, min(:last, CAST((received_at - :start) / :width AS INTEGER)))"


def _requests(
    connection: sqlite3.Connection, given: dict[str, object], parts: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    all_, failed = [0] * parts, [0] * parts
    statement = f"SELECT {_BUCKET}, count(*), sum({FAILED}) {_SINCE} GROUP BY 1"
    for bucket, count, bad in connection.execute(statement, given):
        all_[bucket], failed[bucket] = count, bad
    return tuple(all_), tuple(failed)


def _services(connection: sqlite3.Connection, given: dict[str, object], parts: int) -> tuple[ServiceHour, ...]:
    statement = (
        f"SELECT project, service, {_BUCKET}, count(*), sum({FAILED}), coalesce(sum(prompt_tokens), 0),"
        f" coalesce(sum(completion_tokens), 0) {_SINCE} AND coalesce(project, '') NOT LIKE :diff GROUP BY 1, 2, 3"
    )
    counts: dict[tuple[str | None, str | None], list[int]] = {}
    tokens: dict[tuple[str | None, str | None], tuple[list[int], list[int]]] = {}
    for project, service, bucket, requests, failed, given_tokens, made in connection.execute(statement, given):
        sums = counts.setdefault((project, service), [0, 0])
        sums[0] += requests
        sums[1] += failed
        series = tokens.setdefault((project, service), ([0] * parts, [0] * parts))
        series[0][bucket], series[1][bucket] = given_tokens, made
    found = [
        ServiceHour(*key, counts[key][0], counts[key][1], tuple(prompt), tuple(completion))
        for key, (prompt, completion) in tokens.items()
    ]
    found.sort(key=lambda one: (-sum(one.prompt_tokens) - sum(one.completion_tokens), -one.requests))
    return tuple(found[:_MOST_SERVICES])


def _percentiles(connection: sqlite3.Connection, given: dict[str, object]) -> tuple[float | None, float | None]:
    statement = f"SELECT total_ms {_SINCE} AND total_ms IS NOT NULL AND NOT {FAILED} ORDER BY total_ms"
    spans = [span for (span,) in connection.execute(statement, given)]
    if not spans:
        return None, None
    return spans[(len(spans) - 1) // 2], spans[round((len(spans) - 1) * 0.95)]


def _failures(connection: sqlite3.Connection, given: dict[str, object]) -> tuple[FailureReason, ...]:
    # Of a bare column beside max() SQLite takes the value of the row that has the maximum.
    # Source: https://www.sqlite.org/lang_select.html#bareagg
    statement = (
        f"SELECT status, error_type, count(*) AS requests, error_message, max(id), received_at {_SINCE} AND {FAILED}"
        f" GROUP BY status, error_type ORDER BY requests DESC, max(id) DESC LIMIT {_MOST_REASONS}"
    )
    rows = connection.execute(statement, given)
    return tuple(FailureReason(row[0], row[1], row[2], row[3] or "", row[4], row[5]) for row in rows)
