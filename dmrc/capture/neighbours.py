"""The requests before and after one, among those that a filter shows."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter, where_clause
from dmrc.capture.schema import explained, open_for_reading


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Ids of exchanges; None where one is the last."""

    newer: str | None
    """The next one that came in."""
    older: str | None
    """The one before."""


def neighbours(database: ExchangeDatabase, query: ExchangeFilter, id: str) -> Neighbours:
    """Return the neighbours of an exchange, by its full id. It blocks; StoreError as `ExchangeDatabase` raises it."""
    older = database.page(query, 1, id)
    return Neighbours(_newer(database, query, id), older[0].id if older else None)


def _newer(database: ExchangeDatabase, query: ExchangeFilter, id: str) -> str | None:
    where, values = where_clause(replace(query, since=None))
    # Ids sort by time: what is newer than this one has a greater id, whatever `since` says.
    statement = f"SELECT id FROM exchanges WHERE {where} AND id > ? ORDER BY id LIMIT 1"  # noqa: S608
    with explained(database.path):
        connection = open_for_reading(database.path)
        if connection is None:
            return None
        with closing(connection):
            row = connection.execute(statement, [*values, id]).fetchone()
            return None if row is None else str(row[0])
