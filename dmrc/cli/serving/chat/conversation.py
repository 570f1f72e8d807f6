"""A conversation with one model, one streamed answer after another."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

from dmrc.cli.serving.chat.server import ChatServer
from dmrc.errors import EngineError
from dmrc.event_stream import EventReader
from dmrc.exchange import JsonValue
from dmrc.json_values import items_of, parse_object

Content = str | list[JsonValue]
"""Text, or OpenAI's parts: `[{"type": "text", "text": "…"}, {"type": "image_url", "image_url": {"url": "data:…"}}]`."""

# What a terminal would obey: a model may say anything, and repeats what it was given.
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])
_CONTROLS.pop(0x0A)
_CONTROLS.pop(0x09)
_READ_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """A part of an answer as it came."""

    text: str = ""
    """What the model says."""
    reasoning: str = ""
    """What it thinks before it says it."""


@dataclass(slots=True)
class Conversation:
    """The messages so far. An answer that fails or is cut short leaves the conversation as it was before."""

    server: ChatServer
    """Who answers."""
    model: str
    """As the user named it."""
    system: str | None = None
    """Instruction that stands before all messages."""
    parameters: dict[str, JsonValue] = field(default_factory=dict)
    """Of each request: `temperature`, `max_tokens`, …"""
    messages: list[JsonValue] = field(default_factory=list)
    """User and assistant in turn."""
    on_loaded: Callable[[], None] | None = None
    """Called once, when the first part of the first answer has come."""
    last_usage: dict[str, float] = field(default_factory=dict)
    """Of the last answer: `prompt_tokens`, `completion_tokens`, `tokens_per_second`, as far as the engine said."""

    def ask(self, content: Content) -> Generator[AnswerPart]:
        """Send a message, and yield the answer; closing the iterator ends the request and frees the model.

        Raises:
            EngineError: The gateway or the engine failed; in its words.
        """
        question: JsonValue = {"role": "user", "content": content}
        said: list[str] = []
        for piece in self._stream([*self._before(), *self.messages, question]):
            if self.on_loaded is not None:
                self.on_loaded()
                self.on_loaded = None
            said.append(piece.text)
            yield piece
        self.messages += [question, {"role": "assistant", "content": "".join(said)}]

    def _before(self) -> list[JsonValue]:
        return [{"role": "system", "content": self.system}] if self.system else []

    def _stream(self, messages: list[JsonValue]) -> Iterator[AnswerPart]:
        body = {"model": self.model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        with self.server.answer("POST", "/chat/completions", json.dumps({**body, **self.parameters})) as answer:
            reader, events = EventReader(), 0
            if answer.headers.get_content_type() == "application/json":  # a server that streams nothing
                yield from self._whole(answer.read())
                return
            while chunk := answer.read1(_READ_BYTES):
                for event in reader.read(chunk):
                    if event.data.startswith(b"{"):
                        events += 1
                        yield from self._pieces(json.loads(event.data))
        if not events:
            raise self.server.no_answer()

    def _whole(self, body: bytes) -> Iterator[AnswerPart]:
        document = parse_object(body)
        choices = items_of(document.get("choices"))
        if not choices and "error" not in document:
            raise self.server.no_answer()
        yield from self._pieces({**document, "choices": [{"delta": choice.get("message")} for choice in choices]})

    def _pieces(self, document: dict[str, JsonValue]) -> Iterator[AnswerPart]:
        if isinstance(error := document.get("error"), dict):
            raise EngineError(str(error.get("message")))
        self._note(document)
        choices = document.get("choices")
        for choice in choices if isinstance(choices, list) else []:
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if isinstance(delta, dict):
                text = delta.get("content")
                # vLLM leaves out the second half of the name.
                reasoning = delta.get("reasoning_content") or delta.get("reasoning")
                yield AnswerPart(printable(str(text or "")), printable(str(reasoning or "")))

    def _note(self, document: dict[str, JsonValue]) -> None:
        usage, timings = document.get("usage"), document.get("timings")
        if isinstance(usage, dict):
            counts = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens")}
            self.last_usage = {name: float(n) for name, n in counts.items() if isinstance(n, int | float)}
        if isinstance(timings, dict) and isinstance(rate := timings.get("predicted_per_second"), int | float):
            self.last_usage["tokens_per_second"] = float(rate)


def printable(text: str) -> str:
    """Return text without what a terminal would obey; lines and tabs stay."""
    return text.translate(_CONTROLS)
