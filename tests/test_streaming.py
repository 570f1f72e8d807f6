"""Bytes that are given by calls: held back where they are not taken, changed on the way, turned into an iterator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from dmrc.gateway.server.body_writer import AsgiBody
from dmrc.streaming import FullError, Gathered, Giver, Sink, beginning, chunks_of, give_through, pour


class Pieces:
    """Gives pieces for as long as it is not held back, and then when it may go on."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self.left = [*pieces]
        self.is_paused = False
        self._error = error
        self._may = asyncio.Event()

    def pause(self) -> None:
        self.is_paused = True
        self._may.clear()

    def resume(self) -> None:
        self.is_paused = False
        self._may.set()

    async def into(self, sink: Sink) -> None:
        sink.begin(self)
        while self.left:
            if self.is_paused:
                await self._may.wait()
            sink.take(self.left.pop(0))
        if self._error is not None:
            raise self._error


class Taken:
    """Takes pieces, and holds its giver back after each one."""

    def __init__(self, *, holds: bool = False) -> None:
        self.pieces: list[bytes] = []
        self.giver: Giver | None = None
        self._holds = holds

    def begin(self, giver: Giver) -> None:
        self.giver = giver

    def take(self, chunk: bytes) -> None:
        self.pieces.append(chunk)
        if self._holds and self.giver is not None:
            self.giver.pause()


class Lines:
    """Passes whole lines on, in capitals."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        whole, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
        return (whole + newline).upper()

    def end(self) -> bytes:
        return self._rest


def test_a_transform_passes_on_what_it_can_and_the_rest_at_the_end() -> None:
    taken = Taken()

    asyncio.run(give_through(Lines(), Pieces(b"a\nb", b"c", b"\nd").into, taken))

    assert taken.pieces == [b"A\n", b"BC\n", b"d"]


def test_what_follows_the_piece_that_was_too_much_is_given_to_the_next_one() -> None:
    async def story() -> None:
        pieces, rest = Pieces(b"abc", b"def", b"ghi"), Gathered(100)

        assert await beginning(pieces.into, 5) == (b"abcdef", False)
        await pieces.into(rest)

        assert rest.body() == b"ghi"
        assert await beginning(Pieces(b"abc", b"de").into, 5) == (b"abcde", True)

    asyncio.run(story())


def test_an_iterator_is_read_no_further_than_its_sink_takes() -> None:
    read: list[bytes] = []

    async def source() -> AsyncIterator[bytes]:
        for piece in (b"a", b"", b"b"):
            read.append(piece)
            yield piece

    async def story() -> None:
        taken = Taken(holds=True)
        pouring = asyncio.create_task(pour(source(), taken))
        await asyncio.sleep(0.01)
        assert (read, taken.pieces) == ([b"a"], [b"a"])

        assert taken.giver is not None
        taken.giver.resume()
        await asyncio.sleep(0.01)
        taken.giver.resume()
        await pouring
        assert taken.pieces == [b"a", b"b"]

    asyncio.run(story())


def test_an_iterator_has_all_that_came_before_an_error() -> None:
    async def story() -> list[bytes]:
        found = []
        with pytest.raises(ConnectionError, match="gone"):
            async for chunk in chunks_of(Pieces(b"a", b"b", error=ConnectionError("gone")).into):
                found.append(chunk)
        return found

    assert asyncio.run(story()) == [b"ab"]


def test_an_iterator_that_nobody_reads_holds_its_giver_back() -> None:
    async def story() -> tuple[int, int]:
        pieces = Pieces(*[bytes(100 << 10)] * 100)
        async with aclosing(chunks_of(pieces.into)) as chunks:
            size = len(await anext(chunks))
            await asyncio.sleep(0.01)
            assert pieces.is_paused
            left = len(pieces.left)
            size += sum([len(chunk) async for chunk in chunks])
        return left, size

    left, size = asyncio.run(story())

    assert left > 90
    assert size == 100 * (100 << 10)


def test_an_iterator_that_is_closed_early_ends_the_giving() -> None:
    async def story() -> bool:
        pieces = Pieces(*[bytes(100 << 10)] * 100)
        async with aclosing(chunks_of(pieces.into)) as chunks:
            await anext(chunks)
        return len(asyncio.all_tasks()) == 1

    assert asyncio.run(story())


def test_a_server_that_is_not_ours_gets_pieces_in_their_order_as_it_takes_them() -> None:
    sent: list[dict[str, object]] = []

    async def story() -> None:
        may = asyncio.Event()

        async def send(message: dict[str, object]) -> None:
            sent.append(message)
            await may.wait()

        body, pieces = AsgiBody(send), Pieces(b"a", b"b", b"c")
        giving = asyncio.create_task(pieces.into(body))
        await asyncio.sleep(0.01)
        assert pieces.is_paused
        may.set()
        await giving
        await body.written()

    asyncio.run(story())

    assert b"".join(message["body"] for message in sent) == b"abc"  # type: ignore[misc]
    assert all(message["more_body"] for message in sent)


def test_full_is_no_error_of_a_connection() -> None:
    """Who reads on after it must not think that the engine is gone."""
    assert not issubclass(FullError, OSError)
