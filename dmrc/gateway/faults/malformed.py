"""Tool calls whose arguments lack their end, so that they are no JSON: what a model that is cut off leaves behind."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field

from dmrc.dialects.chat.tool_arguments import ArgumentPlace
from dmrc.dialects.dialect import Dialect
from dmrc.gateway.faults.stream_pieces import StreamPieces, document_of, with_document


class Unfinished:
    """A JSON text without its end, as its pieces come: all of them but the bracket that would complete it."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._depth = 0
        self._is_in_string = self._is_escaped = self._is_over = False

    def read(self, text: str) -> str:
        """Return what is left of the next piece. A text that is no object and no list is left out whole."""
        for position, char in enumerate(text):
            if self._is_over:
                return text[:position]
            self._see(char)
            if self._is_over:
                return text[:position]
        return text

    def _see(self, char: str) -> None:
        if self._is_in_string:
            self._is_in_string = self._is_escaped or char != '"'
            self._is_escaped = not self._is_escaped and char == "\\"
        elif char == '"' and self._depth:
            self._is_in_string = True
        elif char in "{[":
            self._depth += 1
        elif char in "}]":
            self._depth -= 1
            self._is_over = self._depth <= 0
        elif not self._depth and not char.isspace():
            self._is_over = True


@dataclass(slots=True)
class MalformedArguments:
    """Takes the end from the arguments of each tool call of one answer."""

    dialect: Dialect
    """Whose words the answer has."""
    on_cut: Callable[[], None]
    """Called once, when the first one is cut."""
    calls: dict[str, Unfinished] = field(default_factory=dict)
    """The calls that come in pieces."""
    has_cut: bool = False
    """Whether there was a tool call."""

    async def stream(self, stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """Yield a stream, event by event."""
        pieces = StreamPieces()
        async for chunk in stream:
            if changed := b"".join(map(self.changed, pieces.read(chunk))):
                yield changed
        if rest := pieces.rest():
            yield self.changed(rest)

    async def whole(self, stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """Yield an answer that is no stream, when all of it is there."""
        yield self.changed(b"".join([chunk async for chunk in stream]))

    def changed(self, piece: bytes) -> bytes:
        """Return an event, or a whole answer, with the arguments cut; as it is where it has none."""
        document = document_of(piece)
        places = list(self.dialect.tool_arguments(document)) if document else []
        for place in places:
            place.holder[place.name] = self._cut(place)
        if places and not self.has_cut:
            self.has_cut = True
            self.on_cut()
        return with_document(piece, document) if places else piece

    def _cut(self, place: ArgumentPlace) -> str:
        """Return what is left of arguments; those that are an object, and no text, become the text that is left."""
        value = place.holder[place.name]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        unfinished = self.calls.setdefault(place.call, Unfinished()) if place.is_piece else Unfinished()
        return unfinished.read(text)
