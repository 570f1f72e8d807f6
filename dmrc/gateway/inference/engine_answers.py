"""What is changed in answers of engines before anybody reads them: the model's name, and calls that are not JSON."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import closing

from dmrc.answer import Answer, WrappedAnswer
from dmrc.dialects.chat.engine_errors import UNPARSED
from dmrc.dialects.chat.fixes import is_stream
from dmrc.streaming import Sink, Through, Transform, WholeLines, give_through

# An unescaped key: in words its quotes would be escaped.
_MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')
_LONGEST_NAME_BYTES = 4 << 10
_ERROR_EVENT = b'data: {"error"'


class NamedAnswer(WrappedAnswer):
    """An answer that calls the model by the name that was asked for: the engine has one, whatever tags there are."""

    def __init__(self, answer: Answer, model: bytes) -> None:
        """Call the model `model`, which is a JSON string."""
        super().__init__(answer)
        wanted = b'"model":' + model
        self._names: Transform = _NamesInEvents(wanted) if is_stream(answer) else _NameInDocument(wanted)

    def at_its_source(self) -> tuple[Answer, Transform]:
        """Return the answer as the engine gives it, and what names the model in it."""
        return self._answer, self._names

    async def into(self, sink: Sink) -> None:
        """Give the body; see `Answer`."""
        await give_through(self._names, self._answer.into, sink)


class _NamesInEvents:
    """Names the model in each event of a stream, of which whole lines are passed on; see `Transform`."""

    def __init__(self, wanted: bytes) -> None:
        self._wanted = wanted
        self._written = b""
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        if self._rest or not chunk.endswith(b"\n"):
            whole, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
            chunk = whole + newline
        if not self._written and (match := _MODEL.search(chunk)):
            self._written = match[0]
        return chunk.replace(self._written, self._wanted) if self._written else chunk

    def end(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest


class _NameInDocument:
    """Names the model in an answer that is no stream, of which no more is held than a name takes; see `Transform`."""

    def __init__(self, wanted: bytes) -> None:
        self._wanted = wanted
        self._held = b""
        self._is_found = False

    def feed(self, chunk: bytes) -> bytes:
        if self._is_found:
            return chunk
        held = self._held + chunk
        if match := _MODEL.search(held):
            self._is_found, self._held = True, b""
            return held[: match.start()] + self._wanted + held[match.end() :]
        kept = _LONGEST_NAME_BYTES if len(held) > 2 * _LONGEST_NAME_BYTES else len(held)
        self._held = held[len(held) - kept :]
        return held[: len(held) - kept]

    def end(self) -> bytes:
        held, self._held = self._held, b""
        return held


class ParsedAnswer(WrappedAnswer):
    """A stream with calls of tools. Where llama.cpp cannot read one, what the model said follows as words."""

    def __init__(self, answer: Answer, again: Callable[[], Awaitable[Answer]]) -> None:
        """Ask for the words by `again`."""
        super().__init__(answer)
        self._again = again

    async def into(self, sink: Sink) -> None:
        """Give the body; see `Answer`."""
        first = _UpToError()
        await give_through(WholeLines(), self._answer.into, Through(first, sink))
        if UNPARSED not in first.error:
            if first.error:
                sink.take(first.error)
            return
        answer = await self._again()
        with closing(answer):
            # The call that was told already is one, whatever follows it.
            after = Through(_StopIsCall(), sink) if first.has_called else sink
            await give_through(WholeLines(), answer.into, after)


class _UpToError:
    """Passes whole lines on to the one by which the engine says that it failed; see `Transform`."""

    def __init__(self) -> None:
        self.has_called = False
        self.error = b""

    def feed(self, chunk: bytes) -> bytes:
        before, found, event = (self.error + chunk).partition(_ERROR_EVENT)
        self.error = found + event
        self.has_called = self.has_called or b'"tool_calls"' in before
        return before

    def end(self) -> bytes:
        return self.error


class _StopIsCall:
    """Has whole lines of a stream end as one does that calls a tool; see `Transform`."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk.replace(b'"finish_reason":"stop"', b'"finish_reason":"tool_calls"')

    def end(self) -> bytes:
        return b""
