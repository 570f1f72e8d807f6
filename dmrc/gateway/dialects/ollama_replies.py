"""What llama.cpp's server answers, in Ollama's words. Times are nanoseconds.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from typing import Literal

from dmrc.capture.bodies import items_of, object_of
from dmrc.capture.conversation import add_call
from dmrc.errors import EngineError
from dmrc.exchange import JsonValue
from dmrc.gateway.dialects.dialect import Clock
from dmrc.gateway.dialects.ollama_requests import Document

Kind = Literal["chat", "generate"]
"""Whether words stand in `message.content` or in `response`."""

STREAM_TYPE = "application/x-ndjson"
"""JSON lines."""

# How llama.cpp's own routes (/infill) say why an answer ended.
# Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md#result-json
_STOPS = {"eos": "stop", "word": "stop", "limit": "length"}


def now() -> str:
    """Return the time as Ollama writes it: `2026-11-23T12:00:00.000000Z`."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def residence(kind: Kind, model: JsonValue, reason: str) -> bytes:
    """Return the answer to a request without words; `reason` is `load` or `unload`."""
    return _encoded({"model": model, "created_at": now(), **_said(kind, ""), "done": True, "done_reason": reason})


def error_line(message: str) -> bytes:
    """Return the line that ends a stream which breaks. The lines before it are whole; clients choke on blank ones."""
    return _encoded({"error": message}) + b"\n"


class Words:
    """The reply to `/api/chat` and `/api/generate`."""

    stream_type = STREAM_TYPE

    def __init__(self, kind: Kind, model: JsonValue) -> None:
        """Call the model as the caller did."""
        self._kind: Kind = kind
        self._model = model
        self._called: Document = {}
        self._timings: Document = {}
        self._reason: str | None = None

    def whole(self, status: int, body: bytes, clock: Clock) -> bytes:
        """Return the one object, or the error."""
        document = _object(body)
        if status >= 400:
            return _encoded({"error": _error(document)})
        self._take(document)
        choice = next(iter(items_of(document.get("choices"))), {})
        said = object_of(choice.get("message")) or {"content": choice.get("text") or document.get("content")}
        return _encoded(self._object(said, choice) | self._end(clock))

    async def stream(self, chunks: AsyncIterator[bytes], clock: Clock) -> AsyncGenerator[bytes]:
        """Yield lines; calls of tools are one line, when they are complete."""
        rest, done = b"", False
        async for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            told = []
            for line in lines:
                data = line.removeprefix(b"data:").strip()
                if data == b"[DONE]" or not line.startswith(b"data:"):
                    continue
                document = _object(data)
                if document.get("error"):
                    raise EngineError(_error(document))
                told += self._lines(document)
                if self._reason is not None and self._timings and not done:
                    done = True
                    told += self._last_lines(clock)
            if told:
                yield b"".join(_encoded(line) + b"\n" for line in told)
        if not done:
            raise EngineError("the engine's answer ended before its end", remedy="See: dmrc logs")

    def _lines(self, document: Document) -> list[Document]:
        self._take(document)
        choice = next(iter(items_of(document.get("choices"))), {})
        delta = object_of(choice.get("delta")) or {"content": choice.get("text") or document.get("content")}
        for call in items_of(delta.get("tool_calls")):
            add_call(self._called, call)
        words = {name: delta.get(name) for name in ("content", "reasoning_content")}
        return [self._object(words, choice) | {"done": False}] if any(words.values()) else []

    def _last_lines(self, clock: Clock) -> list[Document]:
        called = [self._object(self._called, {}) | {"done": False}] if self._called else []
        return [*called, self._object({}, {}) | self._end(clock)]

    def _take(self, document: Document) -> None:
        self._timings = object_of(document.get("timings")) or self._timings
        for choice in items_of(document.get("choices")):
            reason = choice.get("finish_reason")
            # Ollama ends an answer that calls tools with `stop`.
            self._reason = "stop" if reason == "tool_calls" else str(reason) if reason else self._reason
        if document.get("stop") is True:
            self._reason = _STOPS.get(str(document.get("stop_type")), "stop")

    def _object(self, said: Document, choice: Document) -> Document:
        words = _said(self._kind, said.get("content") or "")
        holder = object_of(words["message"]) if self._kind == "chat" else words
        if thinking := said.get("reasoning_content"):
            holder["thinking"] = thinking
        if self._kind == "chat" and (calls := items_of(said.get("tool_calls"))):
            holder["tool_calls"] = [_call(call, index) for index, call in enumerate(calls)]
        if logprobs := object_of(choice.get("logprobs")).get("content"):
            words["logprobs"] = logprobs
        return {"model": self._model, "created_at": now(), **words}

    def _end(self, clock: Clock) -> Document:
        timings, timing = self._timings, clock()
        return {
            "done": True,
            "done_reason": self._reason or "stop",
            "total_duration": _nanoseconds(timing.total_ms),
            "load_duration": _nanoseconds(timing.load_ms),
            # llama.cpp's prompt_n leaves out what came from the cache.
            "prompt_eval_count": int(_number(timings, "prompt_n") + _number(timings, "cache_n")),
            "prompt_eval_duration": _nanoseconds(_number(timings, "prompt_ms")),
            "eval_count": int(_number(timings, "predicted_n")),
            "eval_duration": _nanoseconds(_number(timings, "predicted_ms")),
            # Beside Ollama's fields, for they do not tell what came from the cache.
            "timings": timings,
        }


class Embeddings:
    """The reply to `/api/embed`; to the older `/api/embeddings` where `is_single`."""

    stream_type = STREAM_TYPE

    def __init__(self, model: JsonValue, *, is_single: bool, dimensions: int | None) -> None:
        """Cut embeddings to `dimensions` numbers, where that is not None, and make them of length 1 again."""
        self._model = model
        self._is_single = is_single
        self._dimensions = dimensions

    def whole(self, status: int, body: bytes, clock: Clock) -> bytes:
        """Return the one object, or the error."""
        document = _object(body)
        if status >= 400:
            return _encoded({"error": _error(document)})
        found = [self._cut(one.get("embedding")) for one in items_of(document.get("data"))]
        tokens = object_of(document.get("usage")).get("prompt_tokens")
        return self._encoded(found, clock, tokens)

    def nothing(self) -> bytes:
        """Return the answer to a request without texts."""
        return _encoded({"embedding": []} if self._is_single else {"model": self._model, "embeddings": []})

    async def stream(self, chunks: AsyncIterator[bytes], clock: Clock) -> AsyncGenerator[bytes]:
        """Yield the one object: llama.cpp's server does not stream embeddings."""
        yield self.whole(200, b"".join([chunk async for chunk in chunks]), clock)

    def _encoded(self, embeddings: list[JsonValue], clock: Clock, tokens: JsonValue) -> bytes:
        if self._is_single:
            return _encoded({"embedding": embeddings[0] if embeddings else []})
        timing = clock()
        return _encoded(
            {
                "model": self._model,
                "embeddings": embeddings,
                "total_duration": _nanoseconds(timing.total_ms),
                "load_duration": _nanoseconds(timing.load_ms),
                "prompt_eval_count": tokens,
            }
        )

    def _cut(self, embedding: JsonValue) -> JsonValue:
        if self._dimensions is None or not isinstance(embedding, list):
            return embedding
        kept = [value for value in embedding[: self._dimensions] if isinstance(value, int | float)]
        length = math.sqrt(sum(value * value for value in kept)) or 1.0
        return [value / length for value in kept]


def _said(kind: Kind, words: JsonValue) -> Document:
    return {"message": {"role": "assistant", "content": words}} if kind == "chat" else {"response": words}


def _call(call: Document, index: int) -> Document:
    function = object_of(call.get("function"))
    arguments = _object(str(function.get("arguments") or "{}").encode())
    return {"id": call.get("id"), "function": {"index": index, "name": function.get("name"), "arguments": arguments}}


def _error(document: Document) -> str:
    error = document.get("error")
    return str(object_of(error).get("message") or error or "the engine refused the request")


def _number(timings: Document, name: str) -> float:
    value = timings.get(name)
    return value if isinstance(value, int | float) else 0


def _nanoseconds(milliseconds: float) -> int:
    return round(milliseconds * 1_000_000)


def _object(data: bytes) -> Document:
    try:
        return object_of(json.loads(data))
    except ValueError:
        return {}


def _encoded(document: Document) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
