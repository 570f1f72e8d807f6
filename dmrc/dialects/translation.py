"""A stream of an engine on its way to a caller: read once, put right, and said in the caller's words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dmrc.dialects.chat.events import ChatEventReader, ChatEvents
from dmrc.dialects.chat.fixes import Fix, put_right
from dmrc.dialects.dialect import Clock, Reply
from dmrc.fields import JsonObject


class Translation:
    """Says a stream of chat completions as its reply does; see `Transform`."""

    def __init__(self, reply: Reply, fixes: Sequence[Fix], clock: Clock) -> None:
        """Put right what `fixes` are about, before `reply` says it."""
        self._reply = reply
        self._fixes = fixes
        self._clock = clock
        self._events = ChatEventReader()

    def feed(self, chunk: bytes) -> bytes:
        """Return what the caller is told with these bytes.

        Raises:
            EngineError: The engine says that it failed.
        """
        return self._said(self._events.read(chunk))

    def end(self) -> bytes:
        """Return what the caller is told at the end.

        Raises:
            EngineError: The engine's stream ended before its end was said.
        """
        return self._said(self._events.last()) + self._reply.stream_end(self._clock)

    def _said(self, events: ChatEvents) -> bytes:
        told = put_right(events, self._fixes) if events else events
        return self._reply.stream(told, self._clock) if told else b""


def said_by(reply: Reply, chunks: Iterable[JsonObject], clock: Clock) -> list[bytes]:
    """Return how a reply says a stream of which each chunk came by itself, piece by piece."""
    told: list[ChatEvents] = [*([chunk] for chunk in chunks), ["[DONE]"]]
    pieces = [*(reply.stream(events, clock) for events in told), reply.stream_end(clock)]
    return [piece for piece in pieces if piece]
