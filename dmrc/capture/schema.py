"""The request database as SQL: its tables, their migrations, and how a connection to it is opened."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from dmrc.errors import StoreError

# "dmrc" in ASCII: tells our file from any other SQLite file (pragma application_id).
_APPLICATION_ID = 0x646D7263
_BUSY_TIMEOUT_SECONDS = 2.0
_MIGRATION_MILLISECONDS = 60_000
_LARGEST_KEPT_LOG_BYTES = 16 << 20
_LONGEST_LOG_PAGES = 16_000

FAILED = "(status >= 400 OR error_type IS NOT NULL)"
"""The condition of the partial index `exchanges_failed`; a query must repeat it word for word to use that index."""

SLOW_MS = 5000
"""From here on a request is slow enough for the partial index `exchanges_slow`; milliseconds in all."""

SLOW = f"(total_ms >= {SLOW_MS})"
"""The condition of the partial index `exchanges_slow`, to be repeated likewise."""

JOINED = "(conversation_id <> id)"
"""The condition of the partial index `exchanges_joined`, likewise: not the first request of its conversation."""

CANCELLED = "(client_disconnected OR error_type = 'cancelled')"
"""The condition of the partial index `exchanges_cancelled`, likewise; see `Exchange.was_cancelled`."""

TAIL = "substr(id, 29)"
"""The expression of the index `exchanges_tail`: the last 8 hex digits of an id, the part that differs."""

_VERSION_1 = (
    """CREATE TABLE exchanges (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, trace_id TEXT, span_id TEXT, session_id TEXT,
        project TEXT, service TEXT, container TEXT, key_id TEXT, client_address TEXT, user_agent TEXT,
        method TEXT NOT NULL, path TEXT NOT NULL, dialect TEXT NOT NULL, operation TEXT NOT NULL,
        model_requested TEXT, model_key TEXT, model_reference TEXT, model_digest TEXT, engine TEXT,
        stream INTEGER NOT NULL,
        received_at REAL NOT NULL, queue_ms REAL, load_ms REAL, first_token_ms REAL, total_ms REAL,
        status INTEGER, finish_reason TEXT, error_type TEXT, error_message TEXT, client_disconnected INTEGER NOT NULL,
        prompt_tokens INTEGER, cached_tokens INTEGER, completion_tokens INTEGER, context_tokens INTEGER,
        prompt_tokens_per_second REAL, completion_tokens_per_second REAL,
        request_truncated INTEGER NOT NULL, response_truncated INTEGER NOT NULL,
        annotations TEXT NOT NULL, excerpt TEXT NOT NULL)""",
    # The id is a UUIDv7: its order is the order of received_at, so that an index with id as its last column
    # gives each page already sorted.
    "CREATE INDEX exchanges_project ON exchanges (project, id) WHERE project IS NOT NULL",
    "CREATE INDEX exchanges_project_service ON exchanges (project, service, id) WHERE project IS NOT NULL",
    "CREATE INDEX exchanges_service ON exchanges (service, id) WHERE service IS NOT NULL",
    *(
        f"CREATE INDEX exchanges_{prefix}{column} ON exchanges ({prefix and 'project, '}{column}, id)"
        f" WHERE {prefix and 'project IS NOT NULL AND '}{column} IS NOT NULL"
        for prefix in ("", "project_")
        for column in ("model_key", "model_reference", "model_requested")
    ),
    f"CREATE INDEX exchanges_failed ON exchanges (id) WHERE {FAILED}",
    f"CREATE INDEX exchanges_tail ON exchanges ({TAIL})",
    """CREATE TABLE content (
        number INTEGER PRIMARY KEY, request_headers TEXT NOT NULL, request_body BLOB NOT NULL,
        response_headers TEXT NOT NULL, response_body BLOB NOT NULL, chunk_offsets TEXT NOT NULL)""",
    # With its own content: contentless deletes need SQLite 3.43, and Python 3.11 may come with an older one.
    """CREATE VIRTUAL TABLE words USING fts5 (prompt, context, answer, tokenize = 'unicode61 remove_diacritics 2')""",
)

_VERSION_2 = (
    f"CREATE INDEX exchanges_slow ON exchanges (id) WHERE {SLOW}",
    # The index of words is merged a few pages at a time, after each write (`merge_words`): by itself it merges some
    # hundred at once, every now and then, and holds the write lock for 50 ms. Beyond this many parts it still does.
    "INSERT INTO words (words, rank) VALUES ('automerge', 0)",
    "INSERT INTO words (words, rank) VALUES ('crisismerge', 64)",
)

_VERSION_3 = (
    "ALTER TABLE exchanges ADD COLUMN replica TEXT",
    "ALTER TABLE exchanges ADD COLUMN node TEXT",
    "CREATE INDEX exchanges_node ON exchanges (node, id) WHERE node IS NOT NULL",
)

_VERSION_4 = (
    "ALTER TABLE exchanges ADD COLUMN conversation_id TEXT",
    "CREATE INDEX exchanges_conversation ON exchanges (conversation_id, id) WHERE conversation_id IS NOT NULL",
    f"CREATE INDEX exchanges_joined ON exchanges (id, conversation_id) WHERE {JOINED}",
    "CREATE INDEX exchanges_session ON exchanges (session_id, id) WHERE session_id IS NOT NULL",
    "CREATE INDEX exchanges_trace ON exchanges (trace_id, id) WHERE trace_id IS NOT NULL",
    "CREATE INDEX exchanges_operation ON exchanges (operation, id)",
    f"CREATE INDEX exchanges_cancelled ON exchanges (id) WHERE {CANCELLED}",
    # What later requests may repeat of an exchange, as hashes (`joining.evidence`), and whether one went on from there.
    # The kind is first: what is looked for within the last hour only is deleted then, and lies together.
    """CREATE TABLE evidence (
        kind INTEGER NOT NULL, fingerprint INTEGER NOT NULL, number INTEGER NOT NULL,
        continued INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (kind, fingerprint, number)) WITHOUT ROWID""",
    "CREATE INDEX evidence_number ON evidence (kind, number)",
)

_VERSION_5 = ("ALTER TABLE content ADD COLUMN request_media TEXT NOT NULL DEFAULT '{}'",)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5)
"""Statements that lead from version n to n + 1. Only ever appended to."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one line that names the file.

    Raises:
        StoreError: Anything SQLite raised; its cause is the `sqlite3.Error`.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        remedy = {
            "database is locked": "Another process holds it; try again",
            "database or disk is full": "Free disk space, or delete old requests",
        }.get(str(error), "Check the file's permissions and the disk")
        raise StoreError(f"request database '{path}' cannot be used: {error}", remedy=remedy) from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            # A statement of ours is wrong: a bug, not the file.
            raise
        raise _unusable(path, str(error)) from error


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Give a read-only connection that sees one state of the file; None where nothing was ever recorded.

    Raises:
        StoreError: As `explained` and `open_for_reading` say.
    """
    with explained(path):
        connection = open_for_reading(path)
        if connection is None:
            yield None
            return
        connection.row_factory = sqlite3.Row
        with closing(connection):
            connection.execute("BEGIN")
            yield connection


def open_for_reading(path: Path) -> sqlite3.Connection | None:
    """Return a new read-only connection, or None when nothing was ever recorded. Works while another process writes.

    Raises:
        StoreError: The file is damaged, is not ours, or was written by a newer dmrc.
    """
    if not path.exists():
        return None
    with explained(path):
        uri = f"file:{quote(str(path))}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None)
        try:
            version = _version(connection, path)
            if version == len(MIGRATIONS):
                return connection
        except BaseException:
            connection.close()
            raise
        connection.close()
    if version == 0:
        return None  # another process is making it, and has written nothing
    open_for_writing(path, None).close()
    return open_for_reading(path)


def open_for_writing(path: Path, max_bytes: int | None) -> sqlite3.Connection:
    """Return a new connection to the database, made (mode 0600) or migrated if need be.

    `max_bytes` is the most that the file may grow to (None: no limit); beyond it SQLite says that the disk is full.

    Raises:
        StoreError: The file is damaged, is not ours, was written by a newer dmrc, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(
            f"request database '{path}' cannot be written: {error.strerror}", remedy="Check DMRC_HOME"
        ) from error
    with explained(path):
        # The caller serialises its use by a lock of its own.
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path, max_bytes)
        except BaseException:
            connection.close()
            raise
    return connection


def checkpoint(path: Path) -> None:
    """Move what the log holds into the file, as far as readers allow; writers go on meanwhile.

    Raises:
        StoreError: The file cannot be written.
    """
    with explained(path), closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_SECONDS)) as connection:
        # Again, for what was written meanwhile: only a log that was moved whole is begun anew, and stays short.
        for _ in range(2):
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def merge_words(connection: sqlite3.Connection, pages: int) -> bool:
    """Merge parts of the index of words, about this many pages of it; return whether there was anything to merge.

    With a negative number all of it becomes one, over as many calls as it takes, of which the others have positive
    numbers. Source: https://sqlite.org/fts5.html#the_merge_command.
    """
    before = connection.total_changes
    connection.execute("INSERT INTO words (words, rank) VALUES ('merge', ?)", (pages,))
    return connection.total_changes - before >= 2


def _prepare(connection: sqlite3.Connection, path: Path, max_bytes: int | None) -> None:
    version = _version(connection, path)
    if version == 0:
        # Takes effect only before the first table: deleted requests give their space back.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    # A killed process loses nothing that was committed; only a power cut may.
    # Source: https://sqlite.org/pragma.html#pragma_synchronous
    connection.execute("PRAGMA synchronous = NORMAL")
    # A checkpoint waits for the disk, with the lock held; `checkpoint` makes one beside the writers before that.
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LONGEST_LOG_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {_LARGEST_KEPT_LOG_BYTES}")
    if max_bytes is not None:
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max(1, max_bytes // page_size)}")
    if version < len(MIGRATIONS):
        _migrate(connection, path)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    # The indexes of a million requests take some seconds; whoever comes meanwhile needs them too, and waits.
    connection.execute(f"PRAGMA busy_timeout = {_MIGRATION_MILLISECONDS}").fetchall()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA busy_timeout = {int(_BUSY_TIMEOUT_SECONDS * 1000)}").fetchall()
    try:
        # Again, under the lock: another process may have been faster.
        for version in range(_version(connection, path), len(MIGRATIONS)):
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, path: Path) -> int:
    # In this order: another process may be making them just now, and what is read later is never older.
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if tables and application != _APPLICATION_ID:
        raise _unusable(path, "it belongs to another program")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"request database '{path}' has version {version}, this dmrc knows {len(MIGRATIONS)}",
            remedy="Use the newer dmrc that wrote it, or move the file away",
        )
    return int(version)


def _unusable(path: Path, reason: str) -> StoreError:
    return StoreError(
        f"request database '{path}' is not usable: {reason}",
        remedy=f"Move it away, and a new one is made: mv '{path}' '{path}.bad'",
    )
