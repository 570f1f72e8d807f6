"""Server-Sent Events: the one reader of them, for streams that come piece by piece and for those that are on record.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

STREAM_TYPES = ("text/event-stream", "application/x-ndjson")
"""What the content type of an answer begins with that comes in pieces: Server-Sent Events, or lines of JSON."""

_LINE_END = re.compile(rb"\r\n?|\n")
# What nearly every event is: read at half the cost.
_ONE_LINE = re.compile(rb"data:([^\r\n]*)\n\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_STREAM_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")


@dataclass(frozen=True, slots=True)
class Event:
    """One Server-Sent Event that has data."""

    data: bytes
    """What stands after `data:`, lines joined by a newline; `b"[DONE]"` at the end of an OpenAI stream."""
    end: int
    """Offset in the stream of the byte after its last data line; the event was complete with the byte before it."""


class EventReader:
    """Reads one stream, cut anywhere. Lines may end with LF, CRLF or CR; only `data:` counts."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._rest = b""
        self._start = 0
        self._is_after_cr = False
        self._data: list[bytes] = []
        self._end = 0

    def read(self, chunk: bytes) -> list[Event]:
        """Return the events that are complete with these bytes, in their order."""
        if self._is_after_cr and chunk:
            # A CR was the end of its line already: the LF that may belong to it is none of its own.
            self._is_after_cr = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
                self._start += 1
        text = self._rest + chunk
        found: list[Event] = []
        position = 0
        while not (self._rest or self._data) and (one := _ONE_LINE.match(text, position)) is not None:
            position = one.end()
            self._end = self._start + position - 2
            found.append(Event(one[1].strip(b" "), self._end))
        for match in _LINE_END.finditer(text, max(position, len(self._rest))):
            self._line(text[position : match.start()], self._start + match.start(), found)
            position = match.end()
        self._is_after_cr = position == len(text) and text.endswith(b"\r")
        self._rest = text[position:]
        self._start += position
        return found

    def last(self) -> list[Event]:
        """Return the event, if any, that the stream ended in the middle of, as far as it had come."""
        found: list[Event] = []
        self._line(self._rest, self._start + len(self._rest), found)
        self._line(b"", 0, found)
        return found

    def _line(self, line: bytes, end: int, found: list[Event]) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].strip(b" "))
            self._end = end
        elif not line:
            if self._data:
                found.append(Event(self._data[0] if len(self._data) == 1 else b"\n".join(self._data), self._end))
                self._data = []
        elif line.startswith(_BYTE_ORDER_MARK) and not self._end:
            self._line(line[len(_BYTE_ORDER_MARK) :], end, found)


def events(body: bytes) -> Iterator[Event]:
    """Yield the events of a stream in order; one that was cut at the end comes too, as it is."""
    reader = EventReader()
    yield from reader.read(body)
    yield from reader.last()


def is_event_stream(body: bytes, headers: Mapping[str, str]) -> bool:
    """Return whether the body is a stream of Server-Sent Events, by its header or else by its look."""
    kind = headers.get("content-type", "").lower()
    if "event-stream" in kind:
        return True
    return "json" not in kind and body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_STREAM_STARTS)
