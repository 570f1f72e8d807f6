"""Which exchanges a page shows, and the SQL that finds them by walking one index."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dmrc.capture.rows import SCALAR_COLUMNS
from dmrc.capture.schema import CANCELLED, FAILED, SLOW, SLOW_MS
from dmrc.exchange import Exchange, id_at

SCALARS = ", ".join(SCALAR_COLUMNS)
"""The columns of a page, as SQL."""

_JOINED = {"conversation": "conversation_id", "session": "session_id", "trace": "trace_id"}
_EQUAL = {**{name: name for name in ("project", "service", "node", "operation")}, **_JOINED}
"""Conditions that say what a column must be, with its name."""

MODEL_COLUMNS = ("model_key", "model_reference", "model_requested")
"""In which a model is looked for; each has an index."""

_IS_MODEL = f"({' OR '.join(f'{column} = ?' for column in MODEL_COLUMNS)})"

Value = str | int | float
"""A parameter of a statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeFilter:
    """Which exchanges a page shows; all conditions must hold, None is no condition."""

    project: str | None = None
    """Compose project."""
    service: str | None = None
    """Compose service."""
    model: str | None = None
    """The model by its key, by its full reference, or as the caller wrote it."""
    node: str | None = None
    """The machine whose replica answered."""
    operation: str | None = None
    """What was asked for: `chat`, `embedding`, …"""
    status: tuple[int, int] | None = None
    """The lowest and the highest HTTP status."""
    failed: bool = False
    """Only those with a status of 400 or more, or whose stream broke."""
    cancelled: bool = False
    """Only those whose caller hung up, or that the user of this machine has cancelled."""
    slower_ms: float | None = None
    """Only those that took this long, or longer, in all."""
    since: float | None = None
    """Only those that came in then or later; Unix seconds."""
    before: float | None = None
    """Only those that came in earlier; Unix seconds."""
    conversation: str | None = None
    """Id of a conversation."""
    session: str | None = None
    """What callers named as their conversation, in a header."""
    trace: str | None = None
    """32 hex digits of callers' `traceparent`."""
    text: str | None = None
    """Words that must all occur in prompt, context or answer; nothing in it is an operator."""


def is_shown(exchange: Exchange, query: ExchangeFilter) -> bool:
    """Return whether the filter shows an exchange; words and times are not looked at."""
    status, failed = exchange.status or 0, exchange.error_type is not None
    return (
        all(getattr(query, name) in (None, getattr(exchange, column)) for name, column in _EQUAL.items())
        and query.model in (None, *(getattr(exchange, column) for column in MODEL_COLUMNS))
        and (query.status is None or query.status[0] <= status <= query.status[1])
        and (not query.failed or failed or status >= 400)
        and (not query.cancelled or exchange.was_cancelled)
        and (query.slower_ms is None or (exchange.total_ms or 0.0) >= query.slower_ms)
    )


def page_statement(
    query: ExchangeFilter, limit: int, before_id: str | None, columns: str = SCALARS
) -> tuple[str, list[Value]]:
    """Return the SQL of a page and its parameters; every page walks one index backwards and sorts nothing."""
    conditions, values = _conditions(query)
    if before_id is not None:
        conditions.append("id < ?")
        values.append(before_id)
    if query.text is not None:
        return _text_statement(query, limit, before_id, columns)
    where, order = " AND ".join(conditions or ["true"]), "ORDER BY id DESC"
    if query.model is None:
        source = f"SELECT {columns} FROM exchanges INDEXED BY {_index(query)}"  # noqa: S608
        return f"{source} WHERE {where} {order} LIMIT ?", [*values, limit]
    # One walk a column, merged by SQLite as it goes: an OR would read and sort every match.
    prefix = "exchanges" if query.project is None else "exchanges_project"
    rare = _joined_index(query) or _rare_index(query)
    walks = [
        f"SELECT id FROM exchanges INDEXED BY {rare or f'{prefix}_{column}'} WHERE {column} = ? AND {where}"  # noqa: S608
        for column in MODEL_COLUMNS
    ]
    ids = f"{' UNION '.join(walks)} {order} LIMIT ?"
    statement = f"SELECT {columns} FROM exchanges WHERE id IN ({ids}) {order}"  # noqa: S608
    return statement, [*(value for _ in walks for value in (str(query.model), *values)), limit]


def _conditions(query: ExchangeFilter) -> tuple[list[str], list[Value]]:
    """Return what does not concern the model or the words."""
    conditions: list[str] = []
    values: list[Value] = []
    for condition, value in (
        *((f"{column} = ?", getattr(query, name)) for name, column in _EQUAL.items()),
        ("total_ms >= ?", query.slower_ms),
        ("id >= ?", None if query.since is None else id_at(query.since)),
        ("id < ?", None if query.before is None else id_at(query.before)),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if query.status is not None:
        lowest, highest = query.status
        conditions.append("status = ?" if lowest == highest else "status BETWEEN ? AND ?")
        values += [lowest] if lowest == highest else [lowest, highest]
    # A partial index is used where its condition stands in the query word for word.
    index = _index(query)
    asked = {FAILED: query.failed, CANCELLED: query.cancelled, SLOW: False}
    conditions += [each for each, is_asked in asked.items() if is_asked or index == _PARTIAL[each]]
    return conditions, values


def _conditions_but_words(query: ExchangeFilter) -> tuple[list[str], list[Value]]:
    """Return what does not concern the words, for what does not walk an index of the model."""
    conditions, values = _conditions(query)
    if query.model is not None:
        conditions.append(_IS_MODEL)
        values += [query.model] * len(MODEL_COLUMNS)
    return conditions, values


def where_clause(query: ExchangeFilter) -> tuple[str, list[Value]]:
    """Return all conditions of a filter as SQL over `exchanges`, for what reads many rows and sorts none."""
    conditions, values = _conditions_but_words(query)
    if query.text is not None:
        conditions.append("number IN (SELECT rowid FROM words WHERE words MATCH ?)")
        values.append(match_of(query.text))
    return " AND ".join(conditions or ["true"]), values


def match_of(text: str) -> str:
    """Return the expression that finds all these words, of which none is an operator."""
    return " ".join(f'"{word}"' for word in re.sub(r'["\0]', " ", text).split()) or '""'


def _text_statement(query: ExchangeFilter, limit: int, before_id: str | None, columns: str) -> tuple[str, list[Value]]:
    """Return the SQL that walks the matches from the last one written: their ids need not be sorted."""
    conditions, values = _conditions_but_words(query)
    if before_id is not None:
        conditions.append("words.rowid < (SELECT number FROM exchanges WHERE id = ?)")
        values.append(before_id)
    where = " AND ".join(["words MATCH ?", *conditions])
    source = f"SELECT {columns} FROM words CROSS JOIN exchanges ON number = words.rowid"  # noqa: S608
    return f"{source} WHERE {where} ORDER BY words.rowid DESC LIMIT ?", [match_of(str(query.text)), *values, limit]


_PARTIAL = {FAILED: "exchanges_failed", CANCELLED: "exchanges_cancelled", SLOW: "exchanges_slow"}


def _joined_index(query: ExchangeFilter) -> str | None:
    """Return the index of what joins requests: of each there are a few, whatever the other conditions are."""
    return next((f"exchanges_{name}" for name in _JOINED if getattr(query, name) is not None), None)


def _rare_index(query: ExchangeFilter) -> str | None:
    """Return the index that leaves few rows whatever the other conditions are."""
    if query.cancelled:
        return _PARTIAL[CANCELLED]
    if query.failed or (query.status is not None and query.status[0] >= 400):
        return _PARTIAL[FAILED]
    if query.slower_ms is not None and query.slower_ms >= SLOW_MS:
        return _PARTIAL[SLOW]
    return None


def _index(query: ExchangeFilter) -> str:
    """Return the index whose condition leaves the fewest rows."""
    if rare := _joined_index(query) or _rare_index(query):
        return rare
    names = [name for name in ("project", "service") if getattr(query, name) is not None]
    for name in ("node", "operation"):
        if not names and getattr(query, name) is not None:
            return f"exchanges_{name}"
    return "_".join(["exchanges", *names]) if names else "sqlite_autoindex_exchanges_1"
