"""How much of requests is kept in memory at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from dmrc.errors import BusyError, InputError
from dmrc.gateway import bodies
from dmrc.gateway.bodies import Bodies, ClientDisconnected

Message = dict[str, object]


def receiving(*chunks: bytes, is_cut: bool = False) -> Callable[[], Awaitable[Message]]:
    """An ASGI `receive` that gives a body in chunks, and then says that the caller has gone."""
    messages: Iterator[Message] = iter(
        {"type": "http.request", "body": chunk, "more_body": is_cut or number < len(chunks)}
        for number, chunk in enumerate(chunks, start=1)
    )

    async def receive() -> Message:
        return next(messages, {"type": "http.disconnect"})

    return receive


async def read(shared: Bodies, *chunks: bytes) -> bytes:
    async with shared.read(receiving(*chunks)) as body:
        return body


def test_a_body_comes_whole_however_it_is_cut() -> None:
    shared = Bodies()

    assert asyncio.run(read(shared, b"one")) == b"one"
    assert asyncio.run(read(shared, b"o", b"", b"ne")) == b"one"


def test_what_is_held_together_is_bounded_and_what_has_ended_does_not_count() -> None:
    async def story() -> None:
        shared = Bodies(limit_bytes=10)
        async with shared.read(receiving(b"123456")):
            with pytest.raises(BusyError, match="requests that wait") as caught:
                await read(shared, b"123", b"456")
            assert caught.value.retry_after_seconds > 0
            assert await read(shared, b"1234") == b"1234"  # what was refused does not count either

        assert await read(shared, b"1234567890") == b"1234567890"

    asyncio.run(story())


def test_one_body_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_LIMIT_BYTES", 1 << 20)

    with pytest.raises(InputError, match="larger than 1 MiB"):
        asyncio.run(read(Bodies(), b"x" * (1 << 20), b"x"))


def test_a_caller_that_goes_away_in_the_middle_leaves_nothing() -> None:
    async def story() -> None:
        shared = Bodies(limit_bytes=4)
        with pytest.raises(ClientDisconnected):
            async with shared.read(receiving(b"123", is_cut=True)):
                pass

        assert await read(shared, b"1234") == b"1234"

    asyncio.run(story())
