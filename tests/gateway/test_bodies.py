"""How much of requests is kept in memory at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from dmrc.errors import BusyError, HttpInputError
from dmrc.gateway.server import request_bodies as bodies
from dmrc.gateway.server.request_bodies import ClientDisconnected, RequestBodies

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


SCOPE: dict[str, object] = {"type": "http", "headers": []}


async def read(shared: RequestBodies, *chunks: bytes) -> bytes:
    async with shared.read(SCOPE, receiving(*chunks)) as body:
        return body.data


def test_a_body_comes_whole_however_it_is_cut() -> None:
    shared = RequestBodies()

    assert asyncio.run(read(shared, b"one")) == b"one"
    assert asyncio.run(read(shared, b"o", b"", b"ne")) == b"one"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32-le"])
def test_json_in_another_unicode_is_passed_on_in_utf8(encoding: str) -> None:
    """It was read, and then sent as it was to engines, which read UTF-8 alone."""
    text = '{"prompt": "Zürich"}'

    assert asyncio.run(read(RequestBodies(), text.encode(encoding))) == text.encode()


def test_what_is_held_together_is_bounded_and_what_has_ended_does_not_count() -> None:
    async def story() -> None:
        shared = RequestBodies(limit_bytes=10)
        async with shared.read(SCOPE, receiving(b"123456")):
            with pytest.raises(BusyError, match="requests that wait") as caught:
                await read(shared, b"123", b"456")
            assert caught.value.retry_after_seconds > 0
            assert await read(shared, b"1234") == b"1234"  # what was refused does not count either

        assert await read(shared, b"1234567890") == b"1234567890"

    asyncio.run(story())


TEXT = b'{"role": "user", "content": "some words"}, '
PICTURE = b"QUJD" * 16_384


def test_text_and_pictures_each_have_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "TEXT_LIMIT_BYTES", 1 << 20)
    monkeypatch.setattr(bodies, "PICTURES_LIMIT_BYTES", 2 << 20)
    text, picture = TEXT * 1000, PICTURE

    asyncio.run(read(RequestBodies(), *[text] * 10, *[picture] * 32))
    for chunks in ([text] * 30, [picture] * 33, [b"[" * 70_000] * 16, [b'{"a":1,' * 10_000] * 16):
        with pytest.raises(HttpInputError, match="larger than 1 MiB, and 2 MiB of pictures") as caught:
            asyncio.run(read(RequestBodies(), *chunks))
        assert caught.value.http_status == 413


def test_a_body_that_says_that_it_is_too_large_is_refused_before_a_byte_of_it_is_read() -> None:
    scope = {"type": "http", "headers": [(b"content-length", b"99999999")]}

    async def receive() -> Message:
        raise AssertionError("it is read")

    async def story() -> None:
        with pytest.raises(HttpInputError, match="larger than"):
            async with RequestBodies().read(scope, receive):
                pass

    asyncio.run(story())


def test_many_values_count_for_the_memory_that_they_take() -> None:
    async def story() -> None:
        shared = RequestBodies(limit_bytes=20 << 20)
        long = b'{"x": [%s]}' % b",".join([b"1"] * 150_000)
        async with shared.read(SCOPE, receiving(long)) as body:
            with pytest.raises(BusyError):
                await body.json()
        assert await read(shared, PICTURE) == PICTURE

    asyncio.run(story())


def test_a_caller_that_goes_away_in_the_middle_leaves_nothing() -> None:
    async def story() -> None:
        shared = RequestBodies(limit_bytes=4)
        with pytest.raises(ClientDisconnected):
            async with shared.read(SCOPE, receiving(b"123", is_cut=True)):
                pass

        assert await read(shared, b"1234") == b"1234"

    asyncio.run(story())
