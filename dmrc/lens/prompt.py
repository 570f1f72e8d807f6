"""A prompt in pieces, in the order in which chat templates put them: system messages, tools, all other messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dmrc.capture.conversation import parts_of
from dmrc.fields import JsonObject, JsonValue
from dmrc.json_values import items_of, object_of

PromptPieceKind = Literal["system", "tool", "message"]
"""What a piece of a prompt is: a system message at its beginning, a tool that is offered, any other message."""

PARAMETERS = (
    *("chat_template_kwargs", "chat_template", "reasoning_effort", "reasoning", "thinking", "think", "tool_choice"),
    *("parallel_tool_calls", "response_format", "format", "text", "template", "raw", "suffix", "documents"),
)
"""Fields of a request, of any dialect, by which a chat template may write other words around the same messages."""

_SYSTEM = frozenset(("system", "developer"))
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_MEDIA = "["
_MEDIA_CHARACTERS = 1000
"""A picture counts as so many characters: it is some hundred tokens, and its mark in the record is short."""


@dataclass(frozen=True, slots=True)
class PromptPiece:
    """A part of a prompt that stands alone in the request: one text."""

    kind: PromptPieceKind
    """What it is."""
    number: int
    """Of the message, from 1 on, a system prompt in a field of its own included; or of the tool, from 1 on."""
    role: str
    """Of the message; of a tool its name."""
    part: str
    """Which part of the message: `part 2`, `reasoning`, `call 1`; "" where it is its only text."""
    text: str
    """Its words; of a tool its JSON."""

    @property
    def place(self) -> str:
        """Return where it stands, for people: `message 2 (user), part 3`."""
        where = f"{'tool' if self.kind == 'tool' else 'message'} {self.number} ({self.role})"
        return f"{where}, {self.part}" if self.part else where

    @property
    def same(self) -> tuple[str, str, str]:
        """Return what is equal of pieces that come to the same tokens, wherever they stand."""
        kind = "call" if self.part.startswith("call") else "reasoning" if self.part == "reasoning" else ""
        return ("" if self.kind == "tool" else self.role), kind, self.text

    @property
    def size(self) -> int:
        """Return about how many characters it counts, for an estimate of its tokens."""
        is_media = self.text.startswith(_MEDIA) and self.text.endswith("]") and len(self.text) < _MEDIA_CHARACTERS
        return _MEDIA_CHARACTERS if is_media and self.part.startswith("part") else len(self.text) + 1


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a request puts into the context of a model, as far as its texts tell."""

    pieces: tuple[PromptPiece, ...]
    """In the order of the prompt."""
    parameters: Mapping[str, JsonValue]
    """Those of `PARAMETERS` that it has."""

    @classmethod
    def of(cls, messages: Sequence[JsonObject], request: Mapping[str, JsonValue]) -> Prompt:
        """Make it of the messages, in OpenAI's words, and of the request, which has the tools and parameters."""
        leading = next((at for at, one in enumerate(messages) if one.get("role") not in _SYSTEM), len(messages))
        pieces = (
            *(piece for at in range(leading) for piece in _message(at + 1, messages[at], "system")),
            *_tools(request.get("tools")),
            *(piece for at in range(leading, len(messages)) for piece in _message(at + 1, messages[at], "message")),
        )
        told = {name: request[name] for name in PARAMETERS if request.get(name) is not None}
        return cls(pieces, told)

    @property
    def size(self) -> int:
        """Return about how many characters it has."""
        return sum(piece.size for piece in self.pieces)


def _message(number: int, message: JsonObject, kind: PromptPieceKind) -> Iterator[PromptPiece]:
    role = message.get("role")
    named = role if isinstance(role, str) else "user"
    thoughts = next((text for name in _THOUGHTS if isinstance(text := message.get(name), str) and text), "")
    if thoughts:
        yield PromptPiece(kind, number, named, "reasoning", thoughts)
    parts = parts_of(message.get("content"))
    for at, text in enumerate(parts, start=1):
        yield PromptPiece(kind, number, named, f"part {at}" if len(parts) > 1 else "", text)
    for at, call in enumerate(items_of(message.get("tool_calls")), start=1):
        function = object_of(call.get("function"))
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        yield PromptPiece(kind, number, named, f"call {at}", f"{function.get('name')} {text}")


def _tools(value: JsonValue) -> Iterator[PromptPiece]:
    for number, tool in enumerate(items_of(value), start=1):
        name = object_of(tool.get("function")).get("name") or tool.get("name") or tool.get("type")
        written = {key: value for key, value in tool.items() if key != "cache_control"}  # no template writes it
        yield PromptPiece("tool", number, str(name), "", json.dumps(written, ensure_ascii=False))
