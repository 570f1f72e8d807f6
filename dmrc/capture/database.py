"""Exchanges in SQLite: one writer at a time, any number of readers in any number of processes."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dmrc.capture.queries import SCALARS, ExchangeFilter, page_statement
from dmrc.capture.rows import from_row, storable
from dmrc.capture.schema import TAIL, checkpoint, explained, merge_words, open_for_writing, reading
from dmrc.capture.writing import ReadExchange, delete, insert, ready
from dmrc.errors import InputError, NotFoundError
from dmrc.exchange import Exchange

# What a deletion may hold the write lock for: an insertion waits for it at most twice.
_PAUSE_SECONDS = 0.003
_YIELD_SECONDS = 0.001
_BATCH = 200
_FREED_PAGES = 50
_MERGED_PAGES = 50
_BATCHES_PER_CHECKPOINT = 10
_PAGE = 1000
_HEX = frozenset("0123456789abcdef-")


class ExchangeDatabase:
    """The file of all recorded exchanges. Safe in threads and processes; every call blocks.

    Each method raises StoreError when the file is damaged, is not ours, is locked for more than 2 seconds, or the disk
    is full: one line with what to do.
    """

    def __init__(self, path: Path, *, max_file_bytes: int | None = None) -> None:
        """Name the file; it is opened, and made, when it is first needed. `max_file_bytes`: it never grows beyond."""
        self.path = path
        self.max_file_bytes = max_file_bytes
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
        """Add the exchanges in one transaction: all or none. One whose id is there already is left as it is.

        They stay in the conversations that they name.
        """
        self.insert_read(map(ReadExchange, exchanges))

    def insert_read(self, exchanges: Iterable[ReadExchange]) -> None:
        """Do what `insert_many` does with exchanges that were read already; those with evidence are joined by it."""
        written = ready(exchanges)
        with self._writing() as connection:
            insert(connection, written, time.time())
            merge_words(connection, _MERGED_PAGES)

    def page(self, query: ExchangeFilter, limit: int, before_id: str | None = None) -> list[Exchange]:
        """Return up to `limit` exchanges without their content, the newest first; `before_id`: only older ones."""
        with reading(self.path) as connection:
            if connection is None:
                return []
            statement, values = page_statement(query, limit, before_id)
            storables = [storable(value) if isinstance(value, str) else value for value in values]
            return [from_row(row) for row in connection.execute(statement, storables)]

    def excerpts(self, exchanges: Sequence[Exchange]) -> dict[str, str]:
        """Return the first words of the prompt for each id of the exchanges; "" where no content was recorded."""
        with reading(self.path) as connection:
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
        with reading(self.path) as connection:
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
        with reading(self.path) as connection:
            if connection is None:
                return 0
            return int(connection.execute("SELECT count(*) FROM exchanges").fetchone()[0])

    def size_bytes(self) -> int:
        """Return how much of the file is in use, indexes included."""
        with reading(self.path) as connection:
            return 0 if connection is None else _used_bytes(connection)

    def ids(self, query: ExchangeFilter) -> list[str]:
        """Return the ids of all exchanges that the filter shows, the newest first."""
        found: list[str] = []
        while page := self.page(query, _PAGE, found[-1] if found else None):
            found += [one.id for one in page]
        return found

    def erase(self, ids: Sequence[str]) -> int:
        """Delete the exchanges of these full ids for good, and return how many there were.

        Not a byte of them is left in the file: SQLite overwrites what it frees (`secure_delete`), the search index is
        merged, since it keeps the words of deleted rows until then, and the log is emptied.
        """
        remaining, erased = list(ids), 0
        with self._overwriting():
            while remaining:
                with self._writing() as connection:
                    deadline = time.monotonic() + _PAUSE_SECONDS
                    while remaining and time.monotonic() < deadline:
                        row = connection.execute("SELECT number FROM exchanges WHERE id = ?", (remaining.pop(),))
                        erased += delete(connection, [number for (number,) in row.fetchall()])
            self._merge_all_words()
        with self._lock, explained(self.path):
            self._open_writer().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return erased

    def trim(
        self, *, max_count: int | None = None, max_bytes: int | None = None, max_age_seconds: float | None = None
    ) -> int:
        """Delete the oldest exchanges until all limits hold (None: no limit); return how many were deleted.

        Each transaction lasts some milliseconds, and between two of them another writer gets its turn.
        """
        oldest_allowed = None if max_age_seconds is None else time.time() - max_age_seconds
        excess = 0 if max_count is None else max(0, self.count() - max_count)
        deleted, found, batches = 0, -1, 0
        while found:
            if batches % _BATCHES_PER_CHECKPOINT == 0 and self.path.exists():
                checkpoint(self.path)  # before the log is so long that a transaction makes one
            with self._writing() as connection:
                deadline, found = time.monotonic() + _PAUSE_SECONDS, 0
                rows = connection.execute("SELECT number, received_at FROM exchanges ORDER BY id LIMIT ?", (_BATCH,))
                for number, received_at in rows.fetchall():
                    too_big = max_bytes is not None and _used_bytes(connection) > max_bytes
                    is_old = oldest_allowed is not None and received_at < oldest_allowed
                    if not (too_big or is_old or deleted < excess):
                        break
                    found += delete(connection, [number])
                    deleted += 1
                    if time.monotonic() > deadline:
                        break
            self._tidy()
            batches += 1
        self._give_back()
        return deleted

    def _tidy(self) -> None:
        """Do a little of what deletions leave to be done, in transactions of their own."""
        time.sleep(_YIELD_SECONDS)  # a waiting thread does not get the lock otherwise
        with self._writing() as connection:
            merge_words(connection, _MERGED_PAGES)
        time.sleep(_YIELD_SECONDS)

    def _give_back(self) -> None:
        """Shrink the file, a little at a time; what the next hour will fill again stays free."""
        while True:
            with self._lock, explained(self.path):
                connection = self._open_writer()
                pages, free = _pages(connection)
                if free <= max(_FREED_PAGES, pages // 20):
                    return
                # The pragma frees a page a step, and execute() takes only one step.
                connection.executescript(f"PRAGMA incremental_vacuum({_FREED_PAGES})")
            time.sleep(_YIELD_SECONDS)

    def _merge_all_words(self) -> None:
        pages, has_more = -_MERGED_PAGES, True
        while has_more:
            with self._writing() as connection:
                has_more, pages = merge_words(connection, pages), _MERGED_PAGES
            time.sleep(_YIELD_SECONDS)

    @contextmanager
    def _overwriting(self) -> Iterator[None]:
        with self._lock, explained(self.path):
            self._open_writer().execute("PRAGMA secure_delete = ON").fetchall()
        try:
            yield
        finally:
            with self._lock, explained(self.path):
                self._open_writer().execute("PRAGMA secure_delete = OFF").fetchall()

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
        self._writer = open_for_writing(self.path, self.max_file_bytes)
        self._writer.row_factory = sqlite3.Row
        self._opened = _identity(self.path)
        return self._writer


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _find(connection: sqlite3.Connection, text: str) -> list[sqlite3.Row]:
    statement = f"SELECT number, {SCALARS} FROM exchanges WHERE "  # noqa: S608
    if len(text) == 8:
        rows = connection.execute(f"{statement} {TAIL} = ? LIMIT 2", (text,)).fetchall()
        if rows:
            return rows
    # "~" sorts after every character that an id may have.
    return connection.execute(f"{statement} id >= ? AND id < ? LIMIT 2", (text, text + "~")).fetchall()


def _pages(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return how many pages the file has, and how many of them are free."""
    pages, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    return int(pages), int(free)


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages, free = _pages(connection)
    return (pages - free) * int(connection.execute("PRAGMA page_size").fetchone()[0])
