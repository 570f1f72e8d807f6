"""What a request gives to its model to read, as far as two of them are compared: where they begin to differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dmrc.common_beginning import first_difference

_TOOL_SIZE = 400  # characters of the description of a tool: it is not written out to be counted
_PART_SIZE = 1000  # of what is no text, as a picture
_BEFORE = ("chat_template_kwargs", "lora")
_SAID_FIRST = ("system", "developer")
_SEVERAL = ("n", "best_of")


@dataclass(frozen=True, slots=True, eq=False)
class SentPrompt:
    """What a template makes of a request: the system message, the tools, and the other messages; or a text alone.

    Nobody knows where a template puts the tools. Most put them behind the system message, and llama.cpp's server does
    so where a template has no place for them.
    """

    before: tuple[object, ...]
    """Fields that may change all of it."""
    messages: tuple[object, ...]
    """The messages as their caller gave them, pictures left out; or the one text, or its tokens."""
    parts: tuple[object, ...]
    """The messages and the tools, in the order of the prompt."""
    sizes: tuple[int, ...]
    """How long each part is, in characters."""
    size: int
    """All together."""

    @classmethod
    def of(cls, document: Mapping[str, object]) -> SentPrompt | None:
        """Return the prompt of what is sent to llama.cpp's server; None where it takes no slot, or several.

        Of `tool_choice` and `response_format` its server makes a grammar for the answer, and no text of the prompt.
        """
        if document.get("id_slot") is not None or any(document.get(name) not in (None, 1) for name in _SEVERAL):
            return None
        messages, text, tools = document.get("messages"), document.get("prompt"), document.get("tools")
        if isinstance(messages, list):
            said = tuple(_without_pictures(message) for message in messages)
        elif isinstance(text, str) or (isinstance(text, list) and all(isinstance(token, int) for token in text)):
            said, tools = (text if isinstance(text, str) else tuple(text),), None
        else:
            return None
        first = next((at for at, message in enumerate(said) if not _is_said_first(message)), len(said))
        described = [(tool, _TOOL_SIZE) for tool in tools] if isinstance(tools, list) else []
        sized = [(message, _size(message)) for message in said]
        sized[first:first] = described
        sizes = tuple(size for _, size in sized)
        before = tuple(document.get(name) for name in _BEFORE)
        return cls(before, said, tuple(part for part, _ in sized), sizes, sum(sizes))

    def texts(self) -> Iterator[str]:
        """Yield all texts in it, those of tools and of messages."""
        pending: list[object] = [*self.before, *self.parts]
        while pending:
            match pending.pop():
                case str() as text:
                    yield text
                case dict() as holder:
                    pending += holder.values()
                case list() | tuple() as holder:
                    pending += holder

    def begins(self, other: SentPrompt) -> bool:
        """Return whether the other one goes on with this one: it has all its parts, or begins with its text."""
        return self.before == other.before and _begin(self.parts, other.parts)

    def is_spoken_on_by(self, other: SentPrompt) -> bool:
        """Return whether the other one has all its messages, whatever stands between and before them."""
        return _begin(self.messages, other.messages)

    def common(self, other: SentPrompt) -> int:
        """Return how long the beginning is that both have, as far as that can be told."""
        if self.before != other.before:
            return 0
        common = 0
        for one, its, size in zip(self.parts, other.parts, self.sizes, strict=False):
            if one != its:
                return common + _begin_alike(_text(one), _text(its))
            common += size
        return common


def _begin(these: tuple[object, ...], those: tuple[object, ...]) -> bool:
    if len(these) > len(those):
        return False
    for one, its in zip(these, those, strict=False):
        if one != its and (isinstance(one, dict) or _begin_alike(_text(one), _text(its)) < len(_text(one))):
            return False
    return True


def _is_said_first(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") in _SAID_FIRST


def _without_pictures(message: object) -> object:
    """Return a message as it is kept for long: texts as one, and a picture told from others by a number."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(content, list):
        return message
    parts = [str(part["text"]) if _is_text(part) else hash(repr(part)) for part in content]
    texts = [part for part in parts if isinstance(part, str)]
    return {**message, "content": "\n".join(texts) if len(texts) == len(parts) else parts}


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and "text" in part


def _size(part: object) -> int:
    content = part.get("content") if isinstance(part, dict) else part
    if isinstance(content, (str, tuple)):
        return len(content) + 1
    if isinstance(content, list):
        return sum(len(one) if isinstance(one, str) else _PART_SIZE for one in content)
    return _PART_SIZE


def _text(part: object) -> str | tuple[object, ...]:
    content = part.get("content") if isinstance(part, dict) else part
    return content if isinstance(content, (str, tuple)) else ""


def _begin_alike(one: str | tuple[object, ...], other: str | tuple[object, ...]) -> int:
    """Return how many characters, or tokens, are the same; a text and tokens have none in common."""
    if isinstance(one, str) and isinstance(other, str):
        return first_difference(one, other)
    return first_difference(one, other) if isinstance(one, tuple) and isinstance(other, tuple) else 0
