"""How many tokens a chat completion would have as its prompt: asked of llama.cpp's server, which generates nothing.

Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

from __future__ import annotations

from dmrc.dialects.chat.events import ChatEvents, documents
from dmrc.dialects.dialect import Clock
from dmrc.errors import EngineError
from dmrc.fields import JsonObject
from dmrc.json_bytes import write_json

COUNT_PATH = "/v1/chat/completions/input_tokens"
"""Answers `{"input_tokens": 12}`. Other servers have no such route: see `EngineClient`."""


class TokenCount:
    """The reply to a request for a count."""

    stream_type = "application/json"

    def __init__(self, beside: JsonObject) -> None:
        """Say the count, with what stands beside it."""
        self._beside = beside

    def whole(self, document: JsonObject, clock: Clock) -> bytes:
        """Return `{"input_tokens": 12}`; see `Reply`."""
        del clock
        count = document.get("input_tokens")
        if not isinstance(count, int):
            raise EngineError("the engine's answer is not a count of tokens", remedy="See: dmrc requests")
        return write_json({**self._beside, "input_tokens": count})

    def stream(self, events: ChatEvents, clock: Clock) -> bytes:
        """Return the one object: a count is never streamed."""
        return b"".join(self.whole(document, clock) for document in documents(events))

    def stream_end(self, clock: Clock) -> bytes:
        """Return nothing."""
        del clock
        return b""
