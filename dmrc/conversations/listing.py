"""The list of conversations, the one with the newest request first: found by walking the requests backwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dmrc.capture.queries import ExchangeFilter, Value, match_of, page_statement, where_clause
from dmrc.capture.rows import storable
from dmrc.capture.schema import FAILED, JOINED, reading
from dmrc.capture.summary import who
from dmrc.conversations.names import model_of, service_of
from dmrc.conversations.record import ConversationRecord
from dmrc.exchange import id_at

MOST_WALKED = 20_000
"""So many requests are looked at for one page of the list."""

MOST_SUMMED = 1000
"""So many requests of one conversation are summed up in the list."""

_CHUNK = 200
_COLUMNS = "id, coalesce(conversation_id, id) AS conversation"
_SUMMED = (
    "received_at, total_ms, project, service, client_address, model_key, model_requested, model_reference,"
    f" prompt_tokens, completion_tokens, excerpt, {FAILED} AS failed"
)


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """One conversation in the list."""

    id: str
    """Of its first request."""
    project: str | None
    """Compose project of its requests."""
    services: tuple[str, ...]
    """Who asked, in the order of their first requests."""
    who: str
    """The same as the list of requests names them, the project once: `shop/web, search`."""
    models: tuple[str, ...]
    """Who was asked, likewise."""
    question: str
    """The first words that were asked; "" where they are not on record."""
    requests: int
    """How many."""
    is_more: bool
    """Whether it has more requests than `MOST_SUMMED`, which all of this is about then."""
    failed: int
    """How many of them failed."""
    prompt_tokens: int | None
    """Tokens in; None where nobody counted."""
    completion_tokens: int | None
    """Tokens out, likewise."""
    started_at: float
    """Unix seconds of its first request."""
    ended_at: float
    """Unix seconds of the last end."""

    @property
    def duration_ms(self) -> float:
        """Return the milliseconds from its beginning to its end."""
        return max(self.ended_at - self.started_at, 0.0) * 1000


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """A part of the list."""

    conversations: list[ConversationSummary]
    """The one with the newest request first."""
    before_id: str | None
    """Where the next part begins, for `conversations`; None where there is nothing more."""


def conversations(
    record: ConversationRecord,
    query: ExchangeFilter,
    limit: int,
    before_id: str | None = None,
    *,
    without_singles: bool = False,
) -> ConversationPage:
    """Return up to `limit` conversations of which a request is shown by the filter.

    `before_id` is that of the part before. A part may have fewer, and others may follow all the same: it ends, too,
    after `MOST_WALKED` requests, where very many of them belong to few conversations. `without_singles` leaves out
    those that have one request.
    """
    found: list[ConversationSummary] = []
    with reading(record.path) as connection:
        if connection is None:
            return ConversationPage([], None)
        walk = _Walk(connection, query, before_id, without_singles)
        for id, at in walk.conversations():
            summary = _summary(connection, id)
            if without_singles and summary.requests == 1:
                continue
            found.append(summary)
            if len(found) == limit:
                return ConversationPage(found, at)
        return ConversationPage(found, walk.rest)


class _Walk:
    """Goes through the requests that a filter shows, the newest first."""

    def __init__(
        self, connection: sqlite3.Connection, query: ExchangeFilter, before_id: str | None, without_singles: bool
    ) -> None:
        self._connection = connection
        self._query = query
        self._before = before_id
        self._begin = before_id
        only_times = query == ExchangeFilter(since=query.since, before=query.before)
        # Of two requests or more the newest is not the first.
        self._walks_joined = without_singles and only_times
        self.rest: str | None = None

    def conversations(self) -> Iterator[tuple[str, str]]:
        """Yield each conversation once, with the id of its newest request that is shown; those of earlier parts not."""
        seen: set[str] = set()
        walked = 0
        while rows := self._chunk():
            walked += len(rows)
            for id, conversation in rows:
                if conversation not in seen:
                    seen.add(conversation)
                    if not self._was_shown(conversation):
                        yield conversation, id
            self._before = rows[-1][0]
            if walked >= MOST_WALKED:
                self.rest = self._before
                return

    def _chunk(self) -> list[tuple[str, str]]:
        if self._walks_joined:
            since, before = self._query.since, self._query.before
            latest = [one for one in (self._before, None if before is None else id_at(before)) if one is not None]
            statement = (
                f"SELECT {_COLUMNS} FROM exchanges INDEXED BY exchanges_joined"  # noqa: S608
                f" WHERE {JOINED} AND id >= ? AND id < ? ORDER BY id DESC LIMIT ?"
            )
            values: list[Value] = ["" if since is None else id_at(since), min(latest, default="~"), _CHUNK]
        else:
            statement, values = page_statement(self._query, _CHUNK, self._before, _COLUMNS)
        rows = self._connection.execute(statement, _storables(values))
        return [(row["id"], row["conversation"]) for row in rows]

    def _was_shown(self, conversation: str) -> bool:
        """Return whether an earlier part has it: a request of it that the filter shows is among those before."""
        if self._begin is None:
            return False
        where, values = where_clause(replace(self._query, conversation=conversation, text=None))
        statement = f"SELECT 1 FROM exchanges INDEXED BY exchanges_conversation WHERE {where} AND id >= ?"  # noqa: S608
        values.append(self._begin)
        if self._query.text is not None:
            statement += " AND EXISTS (SELECT 1 FROM words WHERE words MATCH ? AND words.rowid = exchanges.number)"
            values.append(match_of(self._query.text))
        return self._connection.execute(f"{statement} LIMIT 1", _storables(values)).fetchone() is not None


def _summary(connection: sqlite3.Connection, id: str) -> ConversationSummary:
    statement = (
        f"SELECT {_SUMMED} FROM exchanges INDEXED BY exchanges_conversation"  # noqa: S608
        " WHERE conversation_id = ? ORDER BY id LIMIT ?"
    )
    rows = connection.execute(statement, (id, MOST_SUMMED + 1)).fetchall()
    if not rows:  # it is of no conversation
        rows = connection.execute(f"SELECT {_SUMMED} FROM exchanges WHERE id = ?", (id,)).fetchall()  # noqa: S608
    is_more, rows = len(rows) > MOST_SUMMED, rows[:MOST_SUMMED]
    return ConversationSummary(
        id=id,
        project=rows[0]["project"],
        services=tuple(dict.fromkeys(service_of(row["service"], row["client_address"]) for row in rows)),
        who=_who(rows),
        models=tuple(
            dict.fromkeys(model_of(row["model_key"], row["model_requested"], row["model_reference"]) for row in rows)
        ),
        question=next((row["excerpt"] for row in rows if row["excerpt"]), ""),
        requests=len(rows),
        is_more=is_more,
        failed=sum(row["failed"] for row in rows),
        prompt_tokens=_sum([row["prompt_tokens"] for row in rows]),
        completion_tokens=_sum([row["completion_tokens"] for row in rows]),
        started_at=rows[0]["received_at"],
        ended_at=max(row["received_at"] + (row["total_ms"] or 0.0) / 1000 for row in rows),
    )


def _who(rows: Sequence[sqlite3.Row]) -> str:
    first, *others = dict.fromkeys(who(row["project"], row["service"], row["client_address"]) for row in rows)
    project = rows[0]["project"] or ""
    return ", ".join([first, *(name.removeprefix(f"{project}/") for name in others)])


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _storables(values: Sequence[Value]) -> list[Value]:
    return [storable(value) if isinstance(value, str) else value for value in values]
