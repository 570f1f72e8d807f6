"""The events of a stream of an engine, read once: what puts them right, and what translates them, gets values."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable

from dmrc.event_stream import Event, EventReader
from dmrc.fields import JsonObject
from dmrc.json_bytes import read_line

ChatEvent = JsonObject | str
"""A JSON object, as one of OpenAI's chunks or `{"error": {…}}`; or the text of an event that is none, as `[DONE]`."""

ChatEvents = AsyncIterator[list[ChatEvent]]
"""The events of an answer; those that came together are in one list."""


async def read_events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[list[ChatEvent]]:
    """Yield the events of a stream; `chunks` are of server-sent events, cut anywhere."""
    reader = EventReader()
    async for chunk in chunks:
        if told := reader.read(chunk):
            yield _values(told)
    if told := reader.last():
        yield _values(told)


async def documents(events: ChatEvents) -> AsyncGenerator[JsonObject]:
    """Yield the objects among events, one by one."""
    async for told in events:
        for event in told:
            if not isinstance(event, str):
                yield event


def _values(told: Iterable[Event]) -> list[ChatEvent]:
    # Some servers send `null` in the place of an event that says nothing.
    return [_value(event.data) for event in told if event.data != b"null"]


def _value(data: bytes) -> ChatEvent:
    return read_line(data) or data.decode("utf-8", "surrogateescape")
