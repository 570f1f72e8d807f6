"""A whole answer as a stream: its text cut into pieces of whole characters, nothing of which is taken back later."""

from __future__ import annotations

import codecs
import time
import uuid
from collections.abc import Callable
from typing import Any

from dmrc.engines.llama_cpp_python.requests import RequestKind

ChunkDocument = dict[str, Any]
"""A JSON object."""


class Pieces:
    """Turns the bytes of tokens into chunks in OpenAI's form, and at the end a whole answer into the rest of them."""

    def __init__(
        self, kind: RequestKind, given: ChunkDocument, name: str, emit: Callable[[ChunkDocument], object]
    ) -> None:
        """Give chunks of a model called `name` to `emit`; `given` are the arguments of the request."""
        stop = given.get("stop") or []
        # What may be the beginning of a stop word waits until it is known to be none.
        self._held = max((len(word) for word in ([stop] if isinstance(stop, str) else stop)), default=0)
        self._is_chat = kind == "chat"
        self._is_text = "tool_choice" not in given
        self._emit = emit
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._made = str(given.get("prompt", "")) if given.get("echo") else ""
        self._sent = ""
        self._has_begun = False
        self._head = {
            "id": f"{'chatcmpl' if self._is_chat else 'cmpl'}-{uuid.uuid4()}",
            "object": "chat.completion.chunk" if self._is_chat else "text_completion",
            "created": int(time.time()),
            "model": name,
        }

    def add(self, data: bytes) -> None:
        """Take the bytes of one token."""
        self._made += self._decoder.decode(data)
        if self._is_text:
            self._send(self._made[: len(self._made) - self._held])

    def finish(self, answer: ChunkDocument, *, with_usage: bool) -> None:
        """Send what is left of the answer, its reason and its timings; with usage one chunk more, without choices."""
        (choice,) = answer["choices"]
        message = choice.get("message") or {"content": choice.get("text")}
        self._send(message.get("content") or "")
        calls = [{**call, "index": index} for index, call in enumerate(message.get("tool_calls") or [])]
        if calls:
            self._chunk({"tool_calls": calls})
        self._chunk({}, choice["finish_reason"], {"timings": answer["timings"]})
        if with_usage:
            self._emit({**self._head, "choices": [], "usage": answer["usage"]})

    def _send(self, text: str) -> None:
        """Send what `text` has beyond what was sent."""
        if len(text) > len(self._sent) and text.startswith(self._sent):
            more, self._sent = text[len(self._sent) :], text
            self._chunk({"content": more})

    def _chunk(self, delta: ChunkDocument, reason: str | None = None, more: ChunkDocument | None = None) -> None:
        choice: ChunkDocument = {"index": 0, "logprobs": None, "finish_reason": reason}
        if not self._is_chat:
            choice["text"] = delta.get("content", "")
        else:
            choice["delta"] = delta if self._has_begun else {"role": "assistant", **delta}
        self._has_begun = True
        self._emit({**self._head, "choices": [choice], **(more or {})})
