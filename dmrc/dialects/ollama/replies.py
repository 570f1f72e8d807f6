"""What an engine answers, in Ollama's words. Times are nanoseconds.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Literal

from dmrc.dialects.chat.answers import ChatAnswer, PartialToolCall, Piece, joined
from dmrc.dialects.chat.events import ChatEvents, documents
from dmrc.dialects.dialect import Clock
from dmrc.dialects.ollama.context import context_of
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from dmrc.json_bytes import write_json
from dmrc.json_values import items_of, object_of

ReplyKind = Literal["chat", "generate"]
"""Whether words stand in `message.content` or in `response`."""

STREAM_TYPE = "application/x-ndjson"
"""JSON lines."""


def now() -> str:
    """Return the time as Ollama writes it: `2026-11-23T12:00:00.000000Z`."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def residence(kind: ReplyKind, model: JsonValue, reason: str) -> bytes:
    """Return the answer to a request without words; `reason` is `load` or `unload`."""
    return write_json({"model": model, "created_at": now(), **_said(kind, ""), "done": True, "done_reason": reason})


def error_line(message: str) -> bytes:
    """Return the line that ends a stream which breaks. The lines before it are whole; clients choke on blank ones."""
    return write_json({"error": message}) + b"\n"


class OllamaReply:
    """The reply to `/api/chat` and `/api/generate`."""

    stream_type = STREAM_TYPE

    def __init__(self, kind: ReplyKind, model: JsonValue, said: list[JsonValue] | None = None) -> None:
        """Call the model as the caller did. With `said`, the messages so far, the answer ends with its `context`."""
        self._kind: ReplyKind = kind
        self._said = said
        self._model = model
        self._answer = ChatAnswer()
        self._texts: list[str] = []

    def whole(self, document: JsonObject, clock: Clock) -> bytes:
        """Return the one object; see `Reply`."""
        pieces = self._answer.whole(document)
        said = joined(pieces)
        text, thought = said.get(("text", 0), ""), said.get(("thought", 0), "")
        logprobs = next((piece.logprobs for piece in pieces if piece.logprobs), None)
        return write_json(self._object(text, thought, logprobs, self._answer.calls) | self._end(clock, text))

    def stream(self, events: ChatEvents, clock: Clock) -> bytes:
        """Return lines; calls of tools are one line, when they are complete."""
        del clock
        pieces = self._answer.stream(events)
        self._texts += [piece.text for piece in pieces if piece.kind == "text"]
        return b"".join(self._line(piece) for piece in pieces if piece.kind != "call")

    def stream_end(self, clock: Clock) -> bytes:
        """Return the calls, where there are any, and the last line."""
        self._answer.check_end()
        calls = self._answer.calls
        told = write_json(self._object(calls=calls) | {"done": False}) + b"\n" if calls else b""
        return told + write_json(self._object() | self._end(clock, "".join(self._texts))) + b"\n"

    def _line(self, piece: Piece) -> bytes:
        text, thought = (piece.text, "") if piece.kind == "text" else ("", piece.text)
        return write_json(self._object(text, thought, piece.logprobs) | {"done": False}) + b"\n"

    def _object(
        self, text: str = "", thought: str = "", logprobs: JsonValue = None, calls: Sequence[PartialToolCall] = ()
    ) -> JsonObject:
        words = _said(self._kind, text)
        holder = object_of(words["message"]) if self._kind == "chat" else words
        if thought:
            holder["thinking"] = thought
        if self._kind == "chat" and calls:
            holder["tool_calls"] = [_call(call, index) for index, call in enumerate(calls)]
        if logprobs:
            words["logprobs"] = logprobs
        return {"model": self._model, "created_at": now(), **words}

    def _end(self, clock: Clock, text: str) -> JsonObject:
        answer, timing = self._answer, clock()
        answered: JsonObject = {"role": "assistant", "content": text}
        context: JsonObject = {} if self._said is None else {"context": context_of([*self._said, answered])}
        return context | {
            "done": True,
            # Ollama ends an answer that calls tools with `stop`.
            "done_reason": "stop" if answer.reason in (None, "tool_calls") else answer.reason,
            "total_duration": _nanoseconds(timing.total_ms),
            "load_duration": _nanoseconds(timing.load_ms),
            "prompt_eval_count": answer.prompt_tokens,
            "prompt_eval_duration": _nanoseconds(answer.timings.get("prompt_ms")),
            "eval_count": answer.completion_tokens,
            "eval_duration": _nanoseconds(answer.timings.get("predicted_ms")),
            # Beside Ollama's fields, for they do not tell what came from the cache.
            "timings": answer.timings,
        }


class Embeddings:
    """The reply to `/api/embed`; to the older `/api/embeddings` where `is_single`."""

    stream_type = STREAM_TYPE

    def __init__(self, model: JsonValue, *, is_single: bool) -> None:
        """Answer for `model`, with one embedding or with a list of them."""
        self._model = model
        self._is_single = is_single

    def whole(self, document: JsonObject, clock: Clock) -> bytes:
        """Return the one object; see `Reply`."""
        found = [one.get("embedding") for one in items_of(document.get("data"))]
        tokens = object_of(document.get("usage")).get("prompt_tokens")
        return self._encoded(found, clock, tokens)

    def nothing(self) -> bytes:
        """Return the answer to a request without texts."""
        return write_json({"embedding": []} if self._is_single else {"model": self._model, "embeddings": []})

    def stream(self, events: ChatEvents, clock: Clock) -> bytes:
        """Return the one object: llama.cpp's server does not stream embeddings."""
        return b"".join(self.whole(document, clock) for document in documents(events))

    def stream_end(self, clock: Clock) -> bytes:
        """Return nothing."""
        del clock
        return b""

    def _encoded(self, embeddings: list[JsonValue], clock: Clock, tokens: JsonValue) -> bytes:
        if self._is_single:
            # Ollama's older route tells no count; beside its field it costs nobody anything, and the record has it.
            return write_json({"embedding": embeddings[0] if embeddings else [], "prompt_eval_count": tokens})
        timing = clock()
        return write_json(
            {
                "model": self._model,
                "embeddings": embeddings,
                "total_duration": _nanoseconds(timing.total_ms),
                "load_duration": _nanoseconds(timing.load_ms),
                "prompt_eval_count": tokens,
            }
        )


def _said(kind: ReplyKind, words: JsonValue) -> JsonObject:
    return {"message": {"role": "assistant", "content": words}} if kind == "chat" else {"response": words}


def _call(call: PartialToolCall, index: int) -> JsonObject:
    return {"id": call.id, "function": {"index": index, "name": call.name, "arguments": call.parsed()}}


def _nanoseconds(milliseconds: JsonValue) -> int:
    if isinstance(milliseconds, int) or (isinstance(milliseconds, float) and isfinite(milliseconds)):
        return round(milliseconds * 1_000_000)
    return 0
