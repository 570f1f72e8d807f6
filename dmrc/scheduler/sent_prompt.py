"""What a request gives to its model to read, as far as two of them are compared: where they begin to differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_TOOL_SIZE = 400  # characters of the description of a tool: it is not written out to be counted
_PART_SIZE = 1000  # of what is no text, as a picture
_BESIDE = ("tools", "tool_choice", "response_format", "chat_template_kwargs", "lora")
_SEVERAL = ("n", "best_of")


@dataclass(frozen=True, slots=True, eq=False)
class SentPrompt:
    """The beginning that a template makes of a request, and the messages, or the text, behind it."""

    beside: tuple[object, ...]
    """Fields that change what stands before the messages."""
    parts: tuple[object, ...]
    """The messages as their caller gave them, pictures left out; or the one text, or its tokens."""
    sizes: tuple[int, ...]
    """How long each part is, in characters."""
    size: int
    """All together."""

    @classmethod
    def of(cls, document: Mapping[str, object]) -> SentPrompt | None:
        """Return the prompt of what is sent to llama.cpp's server; None where it takes no slot, or several."""
        if document.get("id_slot") is not None or any(document.get(name) not in (None, 1) for name in _SEVERAL):
            return None
        messages, text = document.get("messages"), document.get("prompt")
        if isinstance(messages, list):
            parts = tuple(_without_pictures(message) for message in messages)
        elif isinstance(text, str) or (isinstance(text, list) and all(isinstance(token, int) for token in text)):
            parts = (text if isinstance(text, str) else tuple(text),)
        else:
            return None
        sizes = tuple(_size(part) for part in parts)
        beside = tuple(document.get(name) for name in _BESIDE)
        tools = beside[0]
        return cls(beside, parts, sizes, sum(sizes) + (_TOOL_SIZE * len(tools) if isinstance(tools, list) else 0))

    def texts(self) -> Iterator[str]:
        """Yield all texts in it, those of tools and of messages."""
        pending: list[object] = [*self.beside, *self.parts]
        while pending:
            match pending.pop():
                case str() as text:
                    yield text
                case dict() as holder:
                    pending += holder.values()
                case list() | tuple() as holder:
                    pending += holder

    def begins(self, other: SentPrompt) -> bool:
        """Return whether the other one goes on with this one: it has all its messages, or begins with its text."""
        if self.beside != other.beside or len(self.parts) > len(other.parts):
            return False
        for one, its in zip(self.parts, other.parts, strict=False):
            if one != its and (isinstance(one, dict) or _begin_alike(_text(one), _text(its)) < len(_text(one))):
                return False
        return True

    def common(self, other: SentPrompt) -> int:
        """Return how long the beginning is that both have."""
        if self.beside != other.beside:
            return 0
        common = self.size - sum(self.sizes)
        for one, its, size in zip(self.parts, other.parts, self.sizes, strict=False):
            if one != its:
                return common + _begin_alike(_text(one), _text(its))
            common += size
        return common


def _without_pictures(message: object) -> object:
    """Return a message as it is kept for long: a picture is told from others by a number."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(content, list):
        return message
    return {**message, "content": [part if _is_text(part) else hash(repr(part)) for part in content]}


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text"


def _size(part: object) -> int:
    content = part.get("content") if isinstance(part, dict) else part
    if isinstance(content, (str, tuple)):
        return len(content) + 1
    if isinstance(content, list):
        return sum(len(str(one["text"])) if isinstance(one, dict) and "text" in one else _PART_SIZE for one in content)
    return _PART_SIZE


def _text(part: object) -> str | tuple[object, ...]:
    content = part.get("content") if isinstance(part, dict) else part
    return content if isinstance(content, (str, tuple)) else ""


def _begin_alike(one: str | tuple[object, ...], other: str | tuple[object, ...]) -> int:
    """Return how many characters, or tokens, are the same; found by halves, each of which is compared at once."""
    if type(one) is not type(other):
        return 0
    same, at_most = 0, min(len(one), len(other))
    while same < at_most:
        middle = (same + at_most + 1) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            at_most = middle - 1
    return same
