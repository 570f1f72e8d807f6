"""What the bodies of one exchange hold as JSON, in the words of chat completions, whatever dialect they are in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dmrc.capture.documents import Documents
from dmrc.capture.event_runs import read_through
from dmrc.dialects.table import dialect_of
from dmrc.event_stream import events, is_event_stream
from dmrc.exchange import Exchange, JsonValue
from dmrc.json_bytes import read_line
from dmrc.json_values import LARGEST_PARSED_BYTES


class AnswerChunk(NamedTuple):
    """A chunk of an answer, or several that differ in one text only, with the whole of that text."""

    said: dict[str, JsonValue]
    """In OpenAI's words; not to be changed."""
    end: int
    """Offset in the body of the end of the bytes of the first."""
    events: int = 1
    """How many there are that say something."""


class ParsedBodies:
    """Reads each body once, when it is first asked for it. For one exchange, and one thread at a time."""

    def __init__(self, request_body: bytes = b"", document: dict[str, JsonValue] | None = None) -> None:
        """Know the document of the request where it was read already; it is not changed."""
        self._read = [] if document is None else [Documents.known(request_body, document)]
        self._told: tuple[bytes, Sequence[AnswerChunk] | None] | None = None
        self._said: tuple[bytes, list[dict[str, JsonValue]]] | None = None

    def of(self, body: bytes) -> Documents:
        """Return the documents of a body of any length, which must not be changed."""
        for one in self._read:
            if one.body is body:
                return one
        self._read.append(read_through(body))
        return self._read[-1]

    def whole(self, body: bytes) -> dict[str, JsonValue]:
        """Return the object that a body is; an empty one where it is anything else, or too long to be read."""
        return self.of(body).whole if len(body) <= LARGEST_PARSED_BYTES else {}

    def messages(self, exchange: Exchange) -> list[dict[str, JsonValue]]:
        """Return the messages of the request; none where it is no JSON or was cut. See `Dialect.messages`."""
        body = exchange.request_body
        if self._said is None or self._said[0] is not body:
            request = self.whole(body)
            said = dialect_of(exchange.dialect, exchange.operation).messages(request) if request else []
            self._said = body, said
        return self._said[1]

    def events(self, exchange: Exchange) -> Sequence[AnswerChunk] | None:
        """Return the events of the answer; None where it is one document of OpenAI's."""
        body = exchange.response_body
        if self._told is not None and self._told[0] is body:
            return self._told[1]
        read = dialect_of(exchange.dialect, exchange.operation).reader(exchange.operation)
        found: Sequence[AnswerChunk] | None = None
        if read is not None:
            found = [one._replace(said=said) for one in self._events(exchange) if (said := read(one.said))]
        elif is_streamed(exchange):
            found = list(self._events(exchange))
        self._told = body, found
        return found

    def _events(self, exchange: Exchange) -> Iterator[AnswerChunk]:
        body = exchange.response_body
        if not is_streamed(exchange):
            if whole := self.whole(body):
                yield AnswerChunk(whole, len(body))
        elif documents := self.of(body).documents:
            for one in documents:
                if isinstance(one.value, dict):
                    yield AnswerChunk(one.value, one.end if one.first_end is None else one.first_end, one.events)
        else:  # an event may have several lines
            yield from (AnswerChunk(_object(one.data), one.end) for one in events(body))


def _object(line: bytes) -> dict[str, JsonValue]:
    return read_line(line) if len(line) <= LARGEST_PARSED_BYTES else {}


def is_streamed(exchange: Exchange) -> bool:
    """Return whether the answer came in pieces: as Server-Sent Events, or as lines of JSON."""
    headers = exchange.response_headers
    return "ndjson" in headers.get("content-type", "") or is_event_stream(exchange.response_body, headers)
