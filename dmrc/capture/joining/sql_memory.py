"""The memory of evidence in the database of requests, within the transaction that writes them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from dmrc.capture.joining import kinds
from dmrc.capture.joining.evidence import Mark
from dmrc.capture.joining.memory import MOST_FOUND, Extent, Speaker
from dmrc.exchange import id_at

_COLUMNS = (
    "number, conversation_id, received_at + coalesce(total_ms, 0) / 1000, trace_id, session_id, service, client_address"
)
_SPEAKERS = (
    f"SELECT wanted.value, {_COLUMNS} FROM json_each(?) AS wanted CROSS JOIN exchanges WHERE number IN ("  # noqa: S608
    "SELECT evidence.number FROM evidence WHERE kind = ? AND fingerprint = wanted.value"
    f" ORDER BY evidence.number DESC LIMIT {MOST_FOUND}) AND conversation_id IS NOT NULL"
)
_SPEAKERS_OF_ONE = (
    f"SELECT {_COLUMNS} FROM exchanges WHERE number IN ("  # noqa: S608
    "SELECT evidence.number FROM evidence WHERE kind = ? AND fingerprint = ?"
    f" ORDER BY evidence.number DESC LIMIT {MOST_FOUND}) AND conversation_id IS NOT NULL"
)
_EXTENT = (
    "SELECT count(*), min(received_at) FROM"
    " (SELECT received_at FROM exchanges WHERE conversation_id = ? ORDER BY id LIMIT ?)"
)
_FORGOTTEN_AT_ONCE = 400
_RECENT_SECONDS = 3600.0
_RECENT = (kinds.FAILED, kinds.FRAGMENT)
_KINDS = ", ".join(str(kind) for kind in kinds.KINDS)
# A kind for each seek of its index, whose first column it is.
_DELETE = f"DELETE FROM evidence WHERE kind IN ({_KINDS}) AND number = ?"  # noqa: S608


class SqlMemory:
    """What was said, as rows; see `EvidenceMemory`. For the life of one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use this connection, which is in a transaction."""
        self._connection = connection
        self._has_failed: bool | None = None

    def speakers(self, marks: Sequence[Mark]) -> list[tuple[Mark, Speaker]]:
        """Return who said each of the marks; see `EvidenceMemory`."""
        if not marks or (marks[0][0] == kinds.FAILED and not self._any_failed()):
            return []
        if len(marks) == 1:
            (mark,) = marks
            return [(mark, Speaker(*values)) for values in self._connection.execute(_SPEAKERS_OF_ONE, mark)]
        kind = marks[0][0]
        fingerprints = json.dumps([fingerprint for _, fingerprint in marks])
        rows = self._connection.execute(_SPEAKERS, (fingerprints, kind))
        return [((kind, fingerprint), Speaker(*values)) for fingerprint, *values in rows]

    def _any_failed(self) -> bool:
        """Return whether any request failed of late: each request asks whether it repeats one."""
        if self._has_failed is None:
            row = self._connection.execute("SELECT 1 FROM evidence WHERE kind = ? LIMIT 1", (kinds.FAILED,)).fetchone()
            self._has_failed = row is not None
        return self._has_failed

    def said_by(self, kind: int, number: int) -> int:
        statement = "SELECT count(*) FROM evidence WHERE kind = ? AND number = ?"
        return int(self._connection.execute(statement, (kind, number)).fetchone()[0])

    def is_continued(self, mark: Mark, speaker: Speaker) -> bool:
        statement = "SELECT continued FROM evidence WHERE kind = ? AND fingerprint = ? AND number = ?"
        row = self._connection.execute(statement, (*mark, speaker.number)).fetchone()
        return row is not None and bool(row[0])

    def go_on(self, mark: Mark, speaker: Speaker) -> None:
        """Note that somebody went on from there; see `EvidenceMemory`."""
        statement = "UPDATE evidence SET continued = 1 WHERE kind = ? AND fingerprint = ? AND number = ?"
        self._connection.execute(statement, (*mark, speaker.number))

    def extent(self, conversation: str, most: int) -> Extent | None:
        count, began_at = self._connection.execute(_EXTENT, (conversation, most)).fetchone()
        return Extent(count, began_at) if count else None

    def merge(self, conversation: str, into: str) -> None:
        statement = "UPDATE exchanges SET conversation_id = ? WHERE conversation_id = ?"
        self._connection.execute(statement, (into, conversation))

    def remember(self, number: int, marks: Sequence[Mark]) -> None:
        """Note what an exchange said that has this number."""
        if any(kind == kinds.FAILED for kind, _ in marks):
            self._has_failed = True
        self._connection.executemany(
            "INSERT OR IGNORE INTO evidence (kind, fingerprint, number) VALUES (?, ?, ?)",
            [(*mark, number) for mark in marks],
        )

    def forget(self, number: int) -> None:
        """Forget what an exchange said."""
        self._connection.execute(_DELETE, (number,))

    def forget_old(self, now: float) -> None:
        """Forget some of what is looked for within an hour only, and is older; more of it than one batch brings."""
        statement = "SELECT number FROM exchanges WHERE id < ? ORDER BY id DESC LIMIT 1"
        newest = self._connection.execute(statement, (id_at(now - _RECENT_SECONDS),)).fetchone()
        if newest is None:
            return
        for kind in _RECENT:
            (oldest,) = self._connection.execute("SELECT min(number) FROM evidence WHERE kind = ?", (kind,)).fetchone()
            if oldest is not None and oldest <= newest[0]:
                last = min(oldest + _FORGOTTEN_AT_ONCE, newest[0])
                delete = "DELETE FROM evidence WHERE kind = ? AND number BETWEEN ? AND ?"
                self._connection.execute(delete, (kind, oldest, last))
