"""Bytes on their way from who reads them to who writes them: each piece by one call, with no task between the two.

A giver gives its pieces to a sink as they come. A sink that has enough pauses its giver, which then reads no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Protocol

from dmrc.background import begin

_HELD_BYTES = 256 << 10


class Giver(Protocol):
    """Who gives; both calls may come twice, and out of a call of `take`."""

    def pause(self) -> None:
        """Give no more, and read no more; what was read already may still come."""

    def resume(self) -> None:
        """Go on."""


class Sink(Protocol):
    """Who takes what one giver after another gives."""

    def begin(self, giver: Giver) -> None:
        """Know who gives from now on."""

    def take(self, chunk: bytes) -> None:
        """Take a piece, which is not empty. What it raises ends the giving, and is raised to who asked for it."""


Give = Callable[[Sink], Awaitable[None]]
"""Gives a sink all that is left, and returns at the end; see `Answer.into`."""


class Transform(Protocol):
    """Changes a stream that is cut anywhere; it remembers what came before."""

    def feed(self, chunk: bytes) -> bytes:
        """Return what can be told with this piece; perhaps nothing."""

    def end(self) -> bytes:
        """Return what is left at the end; a second time nothing, for a sink may refuse what it is given."""


class WholeLines:
    """Passes lines on when they are whole, and at the end what is left; see `Transform`."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return the lines that are whole with this piece."""
        whole, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
        return whole + newline

    def end(self) -> bytes:
        """Return the last line, which has no end."""
        rest, self._rest = self._rest, b""
        return rest


class Through:
    """A sink behind a transform; see `Sink`."""

    def __init__(self, transform: Transform, sink: Sink) -> None:
        """Give `sink` what `transform` makes of each piece."""
        self.begin = sink.begin
        self._feed, self._end = transform.feed, transform.end
        self._take = sink.take

    def take(self, chunk: bytes) -> None:
        """Pass on what the piece is changed to."""
        if changed := self._feed(chunk):
            self._take(changed)

    def end(self) -> None:
        """Pass on what is left; to be called when the giver has come to its end."""
        if rest := self._end():
            self._take(rest)


async def give_through(transform: Transform, give: Give, sink: Sink) -> None:
    """Give a sink what a transform makes of a stream."""
    through = Through(transform, sink)
    await give(through)
    through.end()


class FullError(Exception):
    """A sink has taken as much as it may; what is left can be given to another one."""


class Gathered:
    """A sink that keeps what it takes; see `Sink`."""

    def __init__(self, longest: int) -> None:
        """Raise `FullError` with the piece that makes it more than `longest` bytes."""
        self._longest = longest
        self._size = 0
        self._chunks: list[bytes] = []

    def begin(self, giver: Giver) -> None:
        """Hold nobody back."""

    def take(self, chunk: bytes) -> None:
        """Keep a piece."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > self._longest:
            raise FullError

    def body(self) -> bytes:
        """Return all pieces as one."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)


async def beginning(give: Give, longest: int) -> tuple[bytes, bool]:
    """Return a body and True; of one that is longer than `longest` bytes its beginning and False."""
    gathered = Gathered(longest)
    try:
        await give(gathered)
    except FullError:
        return gathered.body(), False
    return gathered.body(), True


class _Valve:
    """Holds back who awaits it; see `Giver`."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._opened.set()
        self.pause, self.resume, self.wait = self._opened.clear, self._opened.set, self._opened.wait


async def pour(chunks: AsyncIterator[bytes], sink: Sink) -> None:
    """Give a sink what an iterator yields, no faster than the sink takes it."""
    valve = _Valve()
    sink.begin(valve)
    async for chunk in chunks:
        if chunk:
            sink.take(chunk)
            await valve.wait()


async def chunks_of(give: Give) -> AsyncGenerator[bytes]:
    """Yield what a stream gives, what came together as one; no further is read than is taken, but for 256 KiB.

    Raises:
        Exception: What `give` raises, after all that had come before.
    """
    held = _Held()
    task = begin(_all(give, held), "reading a body", expected=Exception)
    try:
        while chunk := await held.next():
            yield chunk
        await task
    finally:
        task.cancel()
        await asyncio.wait({task})  # what it raises was raised above, where anybody was there to hear of it


async def _all(give: Give, held: _Held) -> None:
    try:
        await give(held)
    finally:
        held.end()


class _Held:
    """What has come and is not taken yet; see `Sink`."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._has_ended = False
        self._news = asyncio.Event()
        self._giver: Giver | None = None

    def begin(self, giver: Giver) -> None:
        self._giver = giver

    def take(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > _HELD_BYTES and self._giver is not None:
            self._giver.pause()
        self._news.set()

    def end(self) -> None:
        self._has_ended = True
        self._news.set()

    async def next(self) -> bytes:
        """Return what has come since the last time; nothing at the end."""
        while not self._chunks and not self._has_ended:
            self._news.clear()
            await self._news.wait()
        chunk = b"".join(self._chunks)
        self._chunks.clear()
        if self._size > _HELD_BYTES and self._giver is not None:
            self._giver.resume()
        self._size = 0
        return chunk
