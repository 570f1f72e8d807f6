"""The events of a stream of an engine, read once: what puts them right, and what translates them, gets values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dmrc.event_stream import Event, EventReader
from dmrc.fields import JsonObject
from dmrc.json_bytes import read_line

ChatEvent = JsonObject | str
"""A JSON object, as one of OpenAI's chunks or `{"error": {…}}`; or the text of an event that is none, as `[DONE]`."""

ChatEvents = Sequence[ChatEvent]
"""Events of an answer that came together."""


class ChatEventReader:
    """Reads the events of one stream of server-sent events, cut anywhere."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._reader = EventReader()

    def read(self, chunk: bytes) -> list[ChatEvent]:
        """Return the events that are complete with these bytes."""
        return _values(self._reader.read(chunk))

    def last(self) -> list[ChatEvent]:
        """Return the event, if any, that the stream ended in the middle of."""
        return _values(self._reader.last())


def documents(events: ChatEvents) -> Iterator[JsonObject]:
    """Yield the objects among events."""
    return (event for event in events if not isinstance(event, str))


def _values(told: Iterable[Event]) -> list[ChatEvent]:
    # Some servers send `null` in the place of an event that says nothing.
    return [_value(event.data) for event in told if event.data != b"null"]


def _value(data: bytes) -> ChatEvent:
    return read_line(data) or data.decode("utf-8", "surrogateescape")
