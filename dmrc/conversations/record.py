"""Conversations in the record: which there are, and the requests of one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import SCALARS
from dmrc.capture.rows import from_row
from dmrc.capture.schema import TAIL, reading
from dmrc.errors import InputError, NotFoundError
from dmrc.exchange import Exchange

_HEX = frozenset("0123456789abcdef-")
_SHORT = 8


class ConversationRecord:
    """Reads the file of all exchanges. Each method blocks, and raises StoreError as `ExchangeDatabase` does."""

    def __init__(self, path: Path) -> None:
        """Name the file; one that is not there has no conversations."""
        self.path = path
        self._database = ExchangeDatabase(path)

    def find(self, id: str) -> str:
        """Return the id of the conversation that a request belongs to, by any id that `ExchangeDatabase.get` takes.

        The id of a conversation is that of its first request. It is found, too, where that one was deleted.

        Raises:
            NotFoundError: There is none.
            InputError: Several begin like that.
        """
        try:
            exchange = self._database.get(id)
        except NotFoundError:
            return self._find_conversation(id)
        return exchange.conversation_id or exchange.id

    def count(self, id: str, before_id: str | None = None) -> int:
        """Return how many requests a conversation has on record; `before_id`: only those earlier than this one."""
        with reading(self.path) as connection:
            if connection is None:
                return 0
            where, values = _is_of(id)
            bounded, bounds = (where, values) if before_id is None else (f"({where}) AND id < ?", (*values, before_id))
            return int(connection.execute(f"SELECT count(*) FROM exchanges WHERE {bounded}", bounds).fetchone()[0])  # noqa: S608

    def question(self, id: str) -> str:
        """Return the first words that were asked in a conversation; "" where they are not on record."""
        with reading(self.path) as connection:
            if connection is None:
                return ""
            where, values = _is_of(id)
            statement = f"SELECT excerpt FROM exchanges WHERE ({where}) AND excerpt <> '' ORDER BY id LIMIT 1"  # noqa: S608
            row = connection.execute(statement, values).fetchone()
            return row["excerpt"] if row is not None else ""

    def version(self, id: str | None = None) -> str:
        """Return a text that changes when a request is written, of one conversation or of any; it costs little."""
        with reading(self.path) as connection:
            if connection is None:
                return "0"
            where, values = ("true", ()) if id is None else _is_of(id)
            row = connection.execute(f"SELECT max(number) FROM exchanges WHERE {where}", values).fetchone()  # noqa: S608
            return str(row[0] or 0)

    def requests(self, id: str, limit: int, before_id: str | None = None) -> list[Exchange]:
        """Return the last `limit` requests of a conversation with their content, the oldest first.

        `before_id`: only those that came in earlier than this one.
        """
        with reading(self.path) as connection:
            if connection is None:
                return []
            where, values = _is_of(id)
            bounded = where if before_id is None else f"({where}) AND id < ?"
            statement = f"SELECT number, {SCALARS} FROM exchanges WHERE {bounded} ORDER BY id DESC LIMIT ?"  # noqa: S608
            bounds = [*values, *([] if before_id is None else [before_id]), limit]
            rows = connection.execute(statement, bounds).fetchall()
            return [_with_content(connection, row) for row in reversed(rows)]

    def _find_conversation(self, id: str) -> str:
        """Return the id of a conversation whose first request is on record no more."""
        text = id.strip().lower()
        with reading(self.path) as connection:
            found = _conversations(connection, text) if connection is not None and text and set(text) <= _HEX else []
        if not found:
            raise NotFoundError(f"no request or conversation '{id}' is recorded", remedy="Run: dmrc requests")
        if len(found) > 1:
            raise InputError(f"several conversations begin with '{id}'", remedy="Give more of the id")
        return found[0]


def _is_of(id: str) -> tuple[str, tuple[str, ...]]:
    """Return the condition of a conversation; a request without content may be one by itself, and have no id of it."""
    return "conversation_id = ? OR (id = ? AND conversation_id IS NULL)", (id, id)


def _with_content(connection: sqlite3.Connection, row: sqlite3.Row) -> Exchange:
    content = connection.execute("SELECT * FROM content WHERE number = ?", (row["number"],)).fetchone()
    return from_row(row, content)


def _conversations(connection: sqlite3.Connection, text: str) -> list[str]:
    select = "SELECT DISTINCT conversation_id FROM exchanges WHERE conversation_id IS NOT NULL AND"
    found: list[sqlite3.Row] = []
    if len(text) == _SHORT:
        tail = TAIL.replace("(id,", "(conversation_id,")
        found = connection.execute(f"{select} {tail} = ? LIMIT 2", (text,)).fetchall()
    if not found:
        bounds = (text, text + "~")
        found = connection.execute(
            f"{select} conversation_id >= ? AND conversation_id < ? LIMIT 2",
            bounds,
        ).fetchall()
    return [row[0] for row in found]
