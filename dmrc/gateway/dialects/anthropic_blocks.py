"""The blocks of an answer that Anthropic's clients read one after another; llama.cpp ends them all at the very end.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import json

from dmrc.capture.bodies import object_of, parse_object
from dmrc.exchange import JsonValue

_EVENT_END = b"\n\n"
_NAMES = (b"event: content_block_start", b"event: content_block_stop")
# Of thoughts alone, and once a block; in words its quotes would be escaped.
_SIGNATURE = b'"signature_delta"'


class Blocks:
    """Ends each block before the next one begins."""

    def __init__(self) -> None:
        """Begin; no block is open."""
        self._open: tuple[JsonValue, JsonValue] | None = None
        self._ended: set[JsonValue] = set()
        self._rest = b""

    def read(self, chunk: bytes) -> bytes:
        """Return the events that are complete with these bytes of a stream, in their right order."""
        *events, self._rest = (self._rest + chunk).split(_EVENT_END)
        return b"".join(self._event(event + _EVENT_END) for event in events)

    def last(self) -> bytes:
        """Return what is left of a stream that ended."""
        return self._rest

    def _event(self, event: bytes) -> bytes:
        if not event.startswith(_NAMES) and _SIGNATURE not in event:
            return event
        said = parse_object(event.partition(b"data: ")[2])
        index, kind = said.get("index"), said.get("type")
        if index in self._ended:
            return b""
        if kind == "content_block_start":
            before = self._end(*self._open) if self._open else b""
            self._open = (index, object_of(said.get("content_block")).get("type"))
            return before + event
        if kind == "content_block_stop":
            self._ended.add(index)
            self._open = None
        return event

    def _end(self, index: JsonValue, kind: JsonValue) -> bytes:
        """Return what ends a block: of thoughts the signature too, which is empty as llama.cpp's own."""
        self._ended.add(index)
        events: list[dict[str, JsonValue]] = [{"type": "content_block_stop", "index": index}]
        if kind == "thinking":
            signature: JsonValue = {"type": "signature_delta", "signature": ""}
            events.insert(0, {"type": "content_block_delta", "index": index, "delta": signature})
        return b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)
