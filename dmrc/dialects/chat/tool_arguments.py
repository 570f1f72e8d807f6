"""Where the arguments of tool calls stand in an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dmrc.fields import JsonObject
from dmrc.json_values import items_of, object_of


@dataclass(frozen=True, slots=True)
class ArgumentPlace:
    """One place of an answer, or of an event of a stream, that holds arguments of a tool call, whole or a piece."""

    holder: JsonObject
    """The object that has them; a part of the answer, so a change of it changes the answer."""
    name: str
    """The field of `holder`: a JSON text, or an object in dialects that have them as one."""
    call: str
    """Which call of the answer they are of."""
    is_piece: bool
    """Whether they are a piece of a text that goes on in later events."""


def chat_arguments(document: JsonObject) -> Iterator[ArgumentPlace]:
    """Yield the places of OpenAI's chat completions, and of their chunks."""
    for choice in items_of(document.get("choices")):
        for name in ("delta", "message"):
            for position, call in enumerate(items_of(object_of(choice.get(name)).get("tool_calls"))):
                holder = object_of(call.get("function"))
                if isinstance(holder.get("arguments"), str):
                    which = f"{choice.get('index', 0)} {call.get('index', position)}"
                    yield ArgumentPlace(holder, "arguments", which, is_piece=name == "delta")
