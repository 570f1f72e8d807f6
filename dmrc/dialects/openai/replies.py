"""Answers in OpenAI's own words, where something in them was put right: what was read is written once."""

from __future__ import annotations

from dmrc.dialects.chat.events import ChatEvent, ChatEvents
from dmrc.dialects.dialect import Clock
from dmrc.errors import EngineError
from dmrc.fields import JsonObject
from dmrc.json_bytes import write_json


class OpenAIReply:
    """The reply to OpenAI's routes."""

    stream_type = "text/event-stream; charset=utf-8"

    def whole(self, document: JsonObject, clock: Clock) -> bytes:
        """Return the document; see `Reply`."""
        del clock
        if not document:
            raise EngineError("the engine's answer is not a JSON object", remedy="See: dmrc requests")
        return write_json(document)

    def stream(self, events: ChatEvents, clock: Clock) -> bytes:
        del clock
        return b"".join(b"data: " + _data(event) + b"\n\n" for event in events)

    def stream_end(self, clock: Clock) -> bytes:
        """Return nothing: the engine's own `[DONE]` was passed on."""
        del clock
        return b""


def _data(event: ChatEvent) -> bytes:
    return event.encode("utf-8", "surrogateescape") if isinstance(event, str) else write_json(event)
