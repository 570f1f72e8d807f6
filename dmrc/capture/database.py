"""Exchanges in SQLite: one writer at a time, any number of readers in any number of processes."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dmrc.capture.rows import CONTENT_COLUMNS, SCALAR_COLUMNS, from_row, storable, to_rows
from dmrc.capture.schema import FAILED, TAIL, explained, open_for_reading, open_for_writing
from dmrc.errors import InputError, NotFoundError
from dmrc.exchange import Exchange

_SCALARS = ", ".join(SCALAR_COLUMNS)
_INSERT = (
    f"INSERT INTO exchanges ({_SCALARS}, excerpt) VALUES ({', '.join('?' * (len(SCALAR_COLUMNS) + 1))})"  # noqa: S608
    " ON CONFLICT (id) DO NOTHING"
)
_INSERT_CONTENT = (
    f"INSERT INTO content (number, {', '.join(CONTENT_COLUMNS)})"  # noqa: S608
    f" VALUES ({', '.join('?' * (len(CONTENT_COLUMNS) + 1))})"
)
_MODEL_COLUMNS = ("model_key", "model_reference", "model_requested")
_HEX = frozenset("0123456789abcdef-")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeFilter:
    """Which exchanges a page shows; all conditions must hold, None is no condition."""

    project: str | None = None
    """Compose project."""
    service: str | None = None
    """Compose service."""
    model: str | None = None
    """The model by its key, by its full reference, or as the caller wrote it."""
    failed: bool = False
    """Only those with a status of 400 or more, or whose stream broke."""
    text: str | None = None
    """Words that must all occur in prompt, context or answer; nothing in it is an operator."""


class ExchangeDatabase:
    """The file of all recorded exchanges. Safe in threads and processes; every call blocks.

    Each method raises StoreError when the file is damaged, is not ours, is locked for more than 2 seconds, or the disk
    is full: one line with what to do.
    """

    def __init__(self, path: Path, *, max_file_bytes: int | None = None) -> None:
        """Name the file; it is opened, and made, when it is first needed. `max_file_bytes`: it never grows beyond."""
        self.path = path
        self._max_file_bytes = max_file_bytes
        self._writer: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the writing connection, if there is one; the object may be used again."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def insert_many(self, exchanges: Iterable[Exchange]) -> None:
        """Add the exchanges in one transaction: all or none. One whose id is there already is left as it is."""
        rows = [to_rows(exchange) for exchange in exchanges]
        with self._writing() as connection:
            for row in rows:
                cursor = connection.execute(_INSERT, row.scalars)
                if cursor.rowcount != 1:
                    continue
                number = cursor.lastrowid
                connection.execute(_INSERT_CONTENT, (number, *row.content))
                if any(row.words):
                    connection.execute(
                        "INSERT INTO words (rowid, prompt, context, answer) VALUES (?, ?, ?, ?)", (number, *row.words)
                    )

    def page(self, query: ExchangeFilter, limit: int, before_id: str | None = None) -> list[Exchange]:
        """Return up to `limit` exchanges without their content, the newest first; `before_id`: only older ones."""
        with self._reading() as connection:
            if connection is None:
                return []
            statement, values = page_statement(query, limit, before_id)
            storables = [storable(value) if isinstance(value, str) else value for value in values]
            return [from_row(row) for row in connection.execute(statement, storables)]

    def excerpts(self, exchanges: Sequence[Exchange]) -> dict[str, str]:
        """Return the first words of the prompt for each id of the exchanges; "" where no content was recorded."""
        with self._reading() as connection:
            if connection is None or not exchanges:
                return {}
            marks = ", ".join("?" * len(exchanges))
            statement = f"SELECT id, excerpt FROM exchanges WHERE id IN ({marks})"  # noqa: S608
            return {row["id"]: row["excerpt"] for row in connection.execute(statement, [one.id for one in exchanges])}

    def get(self, id: str) -> Exchange:
        """Return one exchange with its content, by its id, by the last 8 digits of it, or by a unique beginning.

        Raises:
            NotFoundError: There is none.
            InputError: Several begin like that.
        """
        text = id.strip().lower()
        with self._reading() as connection:
            rows = _find(connection, text) if connection is not None and text and set(text) <= _HEX else []
            if not rows or connection is None:
                raise NotFoundError(f"no request '{id}' is recorded", remedy="Run: dmrc requests")
            if len(rows) > 1:
                raise InputError(f"several requests begin with '{id}'", remedy="Give more of the id")
            content = connection.execute("SELECT * FROM content WHERE number = ?", (rows[0]["number"],)).fetchone()
            return from_row(rows[0], content)

    def latest(self) -> Exchange | None:
        """Return the newest exchange with its content, or None when there is none."""
        newest = self.page(ExchangeFilter(), 1)
        return self.get(newest[0].id) if newest else None

    def count(self) -> int:
        """Return how many exchanges are recorded."""
        with self._reading() as connection:
            if connection is None:
                return 0
            return int(connection.execute("SELECT count(*) FROM exchanges").fetchone()[0])

    def size_bytes(self) -> int:
        """Return how much of the file is in use, indexes included."""
        with self._reading() as connection:
            return 0 if connection is None else _used_bytes(connection)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete the exchanges of these full ids and every word of them; return how many there were."""
        with self._writing() as connection:
            found = [
                row[0]
                for id in ids
                for row in connection.execute("SELECT number FROM exchanges WHERE id = ?", (id,)).fetchall()
            ]
            _delete(connection, found)
        return len(found)

    def trim(
        self,
        *,
        max_count: int | None = None,
        max_bytes: int | None = None,
        max_age_seconds: float | None = None,
        batch: int = 200,
    ) -> int:
        """Delete the oldest exchanges until all limits hold (None: no limit); return how many were deleted.

        Each `batch` is a transaction of its own, so that another writer waits for one batch at most.
        """
        oldest_allowed = None if max_age_seconds is None else time.time() - max_age_seconds
        deleted = 0
        excess = 0 if max_count is None else max(0, self.count() - max_count)
        while True:
            with self._writing() as connection:
                rows = connection.execute(
                    "SELECT number, received_at FROM exchanges ORDER BY id LIMIT ?", (batch,)
                ).fetchall()
                too_big = max_bytes is not None and _used_bytes(connection) > max_bytes
                numbers = [
                    row["number"]
                    for index, row in enumerate(rows)
                    if too_big
                    or deleted + index < excess
                    or (oldest_allowed is not None and row["received_at"] < oldest_allowed)
                ]
                _delete(connection, numbers)
            if not numbers:
                return deleted
            deleted += len(numbers)
            with self._lock, explained(self.path):
                if self._writer is not None:
                    # The pragma frees a page a step, and execute() takes only one step.
                    self._writer.executescript("PRAGMA incremental_vacuum(2000)")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, explained(self.path):
            connection = self._open_writer()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is not None and _identity(self.path) == self._opened:
            return self._writer
        if self._writer is not None:
            # Someone moved the file away, as our own remedy says: begin a new one.
            self._writer.close()
            self._writer = None
        self._writer = open_for_writing(self.path, self._max_file_bytes)
        self._writer.row_factory = sqlite3.Row
        self._opened = _identity(self.path)
        return self._writer

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        with explained(self.path):
            connection = open_for_reading(self.path)
            if connection is None:
                yield None
                return
            connection.row_factory = sqlite3.Row
            try:
                # One view of the file for all that a method reads.
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def page_statement(query: ExchangeFilter, limit: int, before_id: str | None) -> tuple[str, list[str | int]]:
    """Return the SQL of a page and its parameters; every page walks one index backwards and sorts nothing."""
    conditions: list[str] = []
    values: list[str | int] = []
    for column, value in (("project", query.project), ("service", query.service)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if query.failed:
        conditions.append(FAILED)
    if before_id is not None:
        conditions.append("id < ?")
        values.append(before_id)
    if query.text is not None:
        conditions.append("number IN (SELECT rowid FROM words WHERE words MATCH ?)")
        values.append(" ".join(f'"{word}"' for word in query.text.replace('"', " ").split()) or '""')
    where, order = " AND ".join(conditions or ["true"]), "ORDER BY id DESC"
    if query.model is None:
        source = f"SELECT {_SCALARS} FROM exchanges INDEXED BY {_index(query)}"  # noqa: S608
        return f"{source} WHERE {where} {order} LIMIT ?", [*values, limit]
    # One walk a column, merged by SQLite as it goes: an OR would read and sort every match.
    prefix = "exchanges" if query.project is None else "exchanges_project"
    walks = [
        f"SELECT id FROM exchanges INDEXED BY {'exchanges_failed' if query.failed else f'{prefix}_{column}'}"  # noqa: S608
        f" WHERE {column} = ? AND {where}"
        for column in _MODEL_COLUMNS
    ]
    ids = f"{' UNION '.join(walks)} {order} LIMIT ?"
    statement = f"SELECT {_SCALARS} FROM exchanges WHERE id IN ({ids}) {order}"  # noqa: S608
    return statement, [*(value for _ in walks for value in (query.model, *values)), limit]


def _index(query: ExchangeFilter) -> str:
    """Return the index whose condition leaves the fewest rows."""
    if query.failed:
        return "exchanges_failed"
    names = [name for name in ("project", "service") if getattr(query, name) is not None]
    return "_".join(["exchanges", *names]) if names else "sqlite_autoindex_exchanges_1"


def _find(connection: sqlite3.Connection, text: str) -> list[sqlite3.Row]:
    statement = f"SELECT number, {_SCALARS} FROM exchanges WHERE "  # noqa: S608
    if len(text) == 8:
        rows = connection.execute(f"{statement} {TAIL} = ? LIMIT 2", (text,)).fetchall()
        if rows:
            return rows
    # "~" sorts after every character that an id may have.
    return connection.execute(f"{statement} id >= ? AND id < ? LIMIT 2", (text, text + "~")).fetchall()


def _delete(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    for number in numbers:
        connection.execute("DELETE FROM words WHERE rowid = ?", (number,))
        connection.execute("DELETE FROM content WHERE number = ?", (number,))
        connection.execute("DELETE FROM exchanges WHERE number = ?", (number,))


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
