"""Chat completions as Anthropic's answers.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import uuid

from dmrc.dialects.chat.answers import ChatAnswer, Part, joined, json_object
from dmrc.dialects.chat.events import ChatEvents
from dmrc.dialects.dialect import Clock
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from dmrc.json_bytes import write_json

_REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
# What an answer says that was Anthropic's before it was read.
_OWN_REASONS = ("end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal")
_DELTAS = {
    "text": ("text_delta", "text"),
    "thought": ("thinking_delta", "thinking"),
    "call": ("input_json_delta", "partial_json"),
}


class AnthropicReply:
    """The reply to `/v1/messages`."""

    stream_type = "text/event-stream; charset=utf-8"

    def __init__(self, model: JsonValue) -> None:
        """Answer for `model`, as the caller calls it."""
        self._model = model
        self._id = f"msg_{uuid.uuid4().hex}"
        self._answer = ChatAnswer()
        self._blocks: list[Part] = []
        self._has_begun = False

    def whole(self, document: JsonObject, clock: Clock) -> bytes:
        """Return the message."""
        del clock
        content: list[JsonValue] = [self._block(*one) for one in joined(self._answer.whole(document)).items()]
        return write_json(self._message(content) | self._ending() | self._numbers())

    def stream(self, events: ChatEvents, clock: Clock) -> bytes:
        """Return the events; each block ends before the next one begins."""
        del clock
        blocks, pieces = self._blocks, self._answer.stream(events)
        said = b"" if self._has_begun else self._beginning()
        self._has_begun = True
        for piece in pieces:
            if not blocks or piece.part != blocks[-1]:
                said += _end(blocks) if blocks else b""
                blocks.append(piece.part)
                block = self._block(piece.part, "")
                said += _event("content_block_start", index=len(blocks) - 1, content_block=block)
            kind, name = _DELTAS[piece.kind]
            if piece.text:
                delta: JsonObject = {"type": kind, name: piece.text}
                said += _event("content_block_delta", index=len(blocks) - 1, delta=delta)
        return said

    def stream_end(self, clock: Clock) -> bytes:
        """Return the end of the last block, and of the message."""
        del clock
        self._answer.check_end()
        ending = _end(self._blocks) if self._blocks else b""
        return ending + _event("message_delta", delta=self._ending(), **self._numbers()) + _event("message_stop")

    def _beginning(self) -> bytes:
        """Return the first event. Of the answer nothing is counted: clients add what the last one but one tells."""
        read, cached = (_count(self._answer.progress.get(name)) for name in ("total", "cache"))
        usage = _usage(read - cached, cached, 0)
        return _event("message_start", message=self._message([]) | {"usage": usage})

    def _message(self, content: list[JsonValue]) -> JsonObject:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._answer.model or self._model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
        }

    def _block(self, part: Part, text: str) -> JsonObject:
        kind, number = part
        if kind == "text":
            return {"type": "text", "text": text}
        if kind == "thought":
            return {"type": "thinking", "thinking": text, "signature": ""}
        call = self._answer.calls[number]
        return {"type": "tool_use", "id": call.id, "name": call.name, "input": json_object(text.encode())}

    def _ending(self) -> JsonObject:
        reason = self._answer.reason
        if reason in _OWN_REASONS:
            return {"stop_reason": reason, "stop_sequence": self._answer.stop_word}
        if reason == "stop" and (word := self._answer.stop_word):
            return {"stop_reason": "stop_sequence", "stop_sequence": word}
        if reason == "stop" and self._answer.calls:
            reason = "tool_calls"  # some servers do not say so
        return {"stop_reason": _REASONS.get(str(reason), "end_turn"), "stop_sequence": None}

    def _numbers(self) -> JsonObject:
        """Return what is counted and, beside Anthropic's fields, the times where the server tells them."""
        answer = self._answer
        usage = _usage(answer.prompt_tokens - answer.cached_tokens, answer.cached_tokens, answer.completion_tokens)
        return {"usage": usage, "timings": answer.timings} if answer.timings else {"usage": usage}


def _count(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0


def _usage(given: int, cached: int, made: int) -> JsonObject:
    counts: JsonObject = {"input_tokens": given, "cache_creation_input_tokens": 0, "cache_read_input_tokens": cached}
    return counts | {"output_tokens": made}


def _end(blocks: list[Part]) -> bytes:
    """Return what ends the last block: of thoughts the signature too, which is empty, for nobody signed them."""
    index = len(blocks) - 1
    signature: JsonObject = {"type": "signature_delta", "signature": ""}
    is_thought = blocks[-1][0] == "thought"
    signed = _event("content_block_delta", index=index, delta=signature) if is_thought else b""
    return signed + _event("content_block_stop", index=index)


def _event(kind: str, **fields: JsonValue) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), write_json({"type": kind, **fields}))
