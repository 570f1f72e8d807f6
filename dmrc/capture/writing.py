"""Exchanges put into the tables of the database, and taken out of them, within a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dmrc.capture.joining.evidence import Evidence
from dmrc.capture.joining.joiner import Joiner
from dmrc.capture.joining.sql_memory import SqlMemory
from dmrc.capture.rows import CONTENT_COLUMNS, WRITTEN_COLUMNS, ExchangeTexts, Rows, SqlValue, to_rows
from dmrc.exchange import Exchange

_INSERT = (
    f"INSERT INTO exchanges (conversation_id, {', '.join(WRITTEN_COLUMNS)}, excerpt)"  # noqa: S608
    f" VALUES ({', '.join('?' * (len(WRITTEN_COLUMNS) + 2))})"
)
_INSERT_CONTENT = (
    f"INSERT INTO content (number, {', '.join(CONTENT_COLUMNS)})"  # noqa: S608
    f" VALUES ({', '.join('?' * (len(CONTENT_COLUMNS) + 1))})"
)
_INSERT_WORDS = "INSERT INTO words (rowid, prompt, context, answer) VALUES (?, ?, ?, ?)"


class ReadExchange(NamedTuple):
    """An exchange as the recorder keeps it, with its words and evidence."""

    exchange: Exchange
    """As it is kept."""
    words: ExchangeTexts | None = None
    """What was said in it; None: it is read from the bodies."""
    evidence: Evidence | None = None
    """By what it is joined to a conversation; None: it stays in the one that it names."""


class WrittenExchange(NamedTuple):
    """An exchange ready to be written: what can be done before the transaction is done."""

    exchange: Exchange
    """As it is kept."""
    rows: Rows
    """Of it."""
    evidence: Evidence | None
    """See `ReadExchange`."""


def ready(exchanges: Iterable[ReadExchange]) -> list[WrittenExchange]:
    """Return the exchanges with their rows, which are made before the file is locked."""
    return [WrittenExchange(one.exchange, to_rows(one.exchange, one.words), one.evidence) for one in exchanges]


def insert(connection: sqlite3.Connection, exchanges: Sequence[WrittenExchange], now: float) -> None:
    """Write the exchanges, each in its conversation; one whose id is there already is left as it is."""
    memory = SqlMemory(connection)
    joiner = Joiner(memory)
    known = _known(connection, exchanges)
    content: list[tuple[SqlValue, ...]] = []
    words: list[tuple[SqlValue, ...]] = []
    for exchange, rows, evidence in exchanges:
        if exchange.id in known:
            continue
        known.add(exchange.id)
        conversation = exchange.conversation_id if evidence is None else joiner.join(exchange, evidence)
        number = connection.execute(_INSERT, (conversation, *rows.scalars)).lastrowid
        content.append((number, *rows.content))
        if any(rows.words):
            words.append((number, *rows.words))
        if evidence is not None and number is not None:
            memory.remember(number, evidence.says)
    connection.executemany(_INSERT_CONTENT, content)
    connection.executemany(_INSERT_WORDS, words)
    memory.forget_old(now)


def _known(connection: sqlite3.Connection, exchanges: Sequence[WrittenExchange]) -> set[str]:
    """Return the ids of those exchanges that are there already."""
    statement = "SELECT id FROM exchanges WHERE id IN (SELECT value FROM json_each(?))"
    return {id for (id,) in connection.execute(statement, (json.dumps([one.exchange.id for one in exchanges]),))}


def delete(connection: sqlite3.Connection, numbers: Sequence[int]) -> int:
    """Delete the exchanges with these numbers, and all that was read of them; return how many."""
    memory = SqlMemory(connection)
    for number in numbers:
        memory.forget(number)
        connection.execute("DELETE FROM words WHERE rowid = ?", (number,))
        connection.execute("DELETE FROM content WHERE number = ?", (number,))
        connection.execute("DELETE FROM exchanges WHERE number = ?", (number,))
    return len(numbers)
