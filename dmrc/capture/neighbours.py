"""The requests before and after one, among those that a filter shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import MODEL_COLUMNS, ExchangeFilter, where_clause
from dmrc.capture.schema import reading


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
    # Ids sort by time: what is newer than this one has a greater id, whatever `since` says.
    where, values = where_clause(replace(query, since=None, model=None))
    # One walk for each column of a model: an OR would read and sort every match.
    models = ["true"] if query.model is None else [f"{column} = ?" for column in MODEL_COLUMNS]
    named = [] if query.model is None else [query.model]
    with reading(database.path) as connection:
        if connection is None:
            return None
        found: list[str] = []
        for model in models:
            statement = f"SELECT id FROM exchanges WHERE {model} AND {where} AND id > ? ORDER BY id LIMIT 1"  # noqa: S608
            found += [one["id"] for one in connection.execute(statement, [*named, *values, id])]
        return min(found, default=None)
