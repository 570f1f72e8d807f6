"""Answers in OpenAI's own words, where something in them was put right: what was read is written once."""

from __future__ import annotations

import json

from dmrc.dialects.chat.events import ChatEvent, ChatEvents
from dmrc.dialects.dialect import Clock
from dmrc.errors import EngineError
from dmrc.fields import JsonObject


class OpenAIReply:
    """The reply to OpenAI's routes."""

    stream_type = "text/event-stream; charset=utf-8"

    def whole(self, document: JsonObject, clock: Clock) -> bytes:
        """Return the document; see `Reply`."""
        del clock
        if not document:
            raise EngineError("the engine's answer is not a JSON object", remedy="See: dmrc requests")
        return _encoded(document)

    def stream(self, events: ChatEvents, clock: Clock) -> bytes:
        del clock
        return b"".join(b"data: " + _data(event) + b"\n\n" for event in events)

    def stream_end(self, clock: Clock) -> bytes:
        """Return nothing: the engine's own `[DONE]` was passed on."""
        del clock
        return b""


def _data(event: ChatEvent) -> bytes:
    return event.encode("utf-8", "surrogateescape") if isinstance(event, str) else _encoded(event)


def _encoded(document: JsonObject) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
