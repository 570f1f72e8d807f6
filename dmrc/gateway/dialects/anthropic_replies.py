"""Chat completions as Anthropic's answers, for engines that know nothing else.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

from dmrc.exchange import JsonValue
from dmrc.gateway.answers import anthropic_error
from dmrc.gateway.dialects.chat_answers import ChatAnswer, Document, Part, error_message, joined, json_object
from dmrc.gateway.dialects.dialect import Clock

_REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_DELTAS = {
    "text": ("text_delta", "text"),
    "thought": ("thinking_delta", "thinking"),
    "call": ("input_json_delta", "partial_json"),
}


class AnthropicWords:
    """The reply to `/v1/messages`."""

    stream_type = "text/event-stream; charset=utf-8"

    def __init__(self, model: JsonValue) -> None:
        """Answer for `model`, as the caller calls it."""
        self._model = model
        self._id = f"msg_{uuid.uuid4().hex}"
        self._answer = ChatAnswer()

    def whole(self, status: int, body: bytes, clock: Clock) -> bytes:
        """Return the message, or the error."""
        del clock
        if status >= 400:
            return json.dumps(anthropic_error(status, error_message(json_object(body)))).encode()
        content: list[JsonValue] = [self._block(*one) for one in joined(self._answer.whole(body)).items()]
        return json.dumps(self._message(content) | {**self._ending(), "usage": self._usage()}).encode()

    async def stream(self, chunks: AsyncIterator[bytes], clock: Clock) -> AsyncGenerator[bytes]:
        """Yield the events; each block ends before the next one begins."""
        del clock
        index, is_open = -1, cast("Part | None", None)
        async for pieces in self._answer.stream(chunks):
            events = b""
            for piece in pieces:
                if piece.part != is_open:
                    if is_open is None:
                        events += _event("message_start", message=self._message([]) | {"usage": self._usage()})
                    else:
                        events += _end(is_open, index)
                    index, is_open = index + 1, piece.part
                    events += _event("content_block_start", index=index, content_block=self._block(piece.part, ""))
                kind, name = _DELTAS[piece.kind]
                if piece.text:
                    events += _event("content_block_delta", index=index, delta={"type": kind, name: piece.text})
            if events:
                yield events
        if is_open is None:
            yield _event("message_start", message=self._message([]) | {"usage": self._usage()})
        else:
            yield _end(is_open, index)
        yield _event("message_delta", delta=self._ending(), usage=self._usage()) + _event("message_stop")

    def _message(self, content: list[JsonValue]) -> Document:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._answer.model or self._model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
        }

    def _block(self, part: Part, text: str) -> Document:
        kind, number = part
        if kind == "text":
            return {"type": "text", "text": text}
        if kind == "thought":
            return {"type": "thinking", "thinking": text, "signature": ""}
        call = self._answer.calls[number]
        return {"type": "tool_use", "id": call.id, "name": call.name, "input": json_object(text.encode())}

    def _ending(self) -> Document:
        # A chat completion does not tell which of the stop sequences it met.
        return {"stop_reason": _REASONS.get(str(self._answer.reason), "end_turn"), "stop_sequence": None}

    def _usage(self) -> Document:
        answer = self._answer
        return {
            "input_tokens": answer.prompt_tokens - answer.cached_tokens,
            "cache_read_input_tokens": answer.cached_tokens,
            "output_tokens": answer.completion_tokens,
        }


def _end(part: Part, index: int) -> bytes:
    """Return what ends a block: of thoughts the signature too, which is empty, for nobody signed them."""
    signature = {"type": "signature_delta", "signature": ""}
    signed = _event("content_block_delta", index=index, delta=signature) if part[0] == "thought" else b""
    return signed + _event("content_block_stop", index=index)


def _event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
