"""The exchange as rows of the database, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from operator import attrgetter
from sqlite3 import Row
from typing import Any

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.reading import text_of_response, texts_of_request
from dmrc.exchange import Exchange, JsonValue
from dmrc.json_bytes import write_json

CONTENT_COLUMNS = (
    *("request_headers", "request_body", "response_headers", "response_body", "chunk_offsets"),
    "request_media",
)
"""Fields that lie in the table `content`, so that a page of the list need not read them."""

SCALAR_COLUMNS = tuple(one.name for one in fields(Exchange) if one.name not in CONTENT_COLUMNS)
"""Fields that lie in the table `exchanges`, each in a column of its name."""

WRITTEN_COLUMNS = tuple(name for name in SCALAR_COLUMNS if name != "conversation_id")
"""Those of which an exchange has the values before it is written."""

_scalars = attrgetter(*WRITTEN_COLUMNS)
_FLAGS = ("stream", "client_disconnected", "request_truncated", "response_truncated")
_LONGEST_EXCERPT = 200
_LONGEST_INDEXED = 64 * 1024

SqlValue = None | int | float | str | bytes
"""What SQLite stores."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One exchange as it goes into the three tables."""

    scalars: tuple[SqlValue, ...]
    """Values of `WRITTEN_COLUMNS`, then the excerpt: the first words of the prompt."""
    content: tuple[SqlValue, ...]
    """Values of `CONTENT_COLUMNS`."""
    words: tuple[str, str, str]
    """For full-text search: what was asked, the other messages, the answer; all empty without content."""


@dataclass(frozen=True, slots=True)
class ExchangeTexts:
    """What was said in an exchange, as it is searched and shown in a list; all empty without content."""

    asked: str
    """The first user message, or the prompt."""
    context: str
    """The other messages."""
    answer: str
    """The answer."""

    @property
    def excerpt(self) -> str:
        """Return the first words that were asked."""
        return self.asked[:_LONGEST_EXCERPT]


def words_of(exchange: Exchange, bodies: ParsedBodies | None = None) -> ExchangeTexts:
    """Return the words of an exchange; text that is no UTF-8 is made so."""
    asked, context = texts_of_request(exchange, bodies)
    texts = (asked, context, text_of_response(exchange, bodies))
    return ExchangeTexts(*(storable(text)[:_LONGEST_INDEXED] for text in texts))


def to_rows(exchange: Exchange, words: ExchangeTexts | None = None) -> Rows:
    """Return the exchange as rows; text that is no UTF-8 is made so. `words` None: they are read from the bodies."""
    words = words or words_of(exchange)
    *scalars, annotations = _scalars(exchange)
    return Rows(
        scalars=(*_storable(scalars), _json(annotations), words.excerpt),
        content=(
            _json(exchange.request_headers),
            exchange.request_body,
            _json(exchange.response_headers),
            exchange.response_body,
            _pairs(exchange.chunk_offsets),
            _json(exchange.request_media),
        ),
        words=(words.asked, words.context, words.answer),
    )


def from_row(row: Row, content: Row | None = None) -> Exchange:
    """Return the exchange of a row of `exchanges` and, where it is given, of its row of `content`."""
    values: dict[str, Any] = {name: row[name] for name in SCALAR_COLUMNS}
    for name in _FLAGS:
        values[name] = bool(values[name])
    values["annotations"] = json.loads(row["annotations"])
    if content is not None:
        values["request_headers"] = json.loads(content["request_headers"])
        values["request_body"] = content["request_body"]
        values["response_headers"] = json.loads(content["response_headers"])
        values["response_body"] = content["response_body"]
        values["chunk_offsets"] = tuple((at, offset) for at, offset in json.loads(content["chunk_offsets"]))
        values["request_media"] = json.loads(content["request_media"])
    return Exchange(**values)


def _storable(values: Sequence[SqlValue]) -> Sequence[SqlValue]:
    return [storable(value) if isinstance(value, str) and not value.isascii() else value for value in values]


def _json(value: Mapping[str, JsonValue]) -> str:
    return write_json(dict(value)).decode() if value else "{}"


def _pairs(offsets: Sequence[tuple[float, int]]) -> str:
    """Return `[[12.345,0],[14.001,310]]`, made at once: there are as many as there are tokens."""
    return f"[{','.join(['[%.3f,%d]'] * len(offsets)) % tuple(chain.from_iterable(offsets))}]"


def storable(value: str) -> str:
    """Return a text as SQLite can hold it: a lone surrogate, which is no UTF-8, becomes `?`."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()
