"""What the runners' HTTP client makes of answers that are odd, broken, or no HTTP at all."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing

import pytest

from dmrc.engines.http_client.connectors import UnixConnector
from dmrc.engines.http_client.session import HttpSession
from tests.engines.scripted_server import (
    JSON_ANSWER,
    STREAM_HEAD,
    Peer,
    ScriptedServer,
    answers,
    answers_all,
    scripted_server,
)
from tests.engines.stories import Play, ask, ask_once


def _length(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size


_UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx"
ODD_ANSWERS = {
    "in single bytes": [bytes([byte]) for byte in STREAM_HEAD + b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"],
    "after 100 Continue": [b"HTTP/1.1 100 Continue\r\nX-A: b\r\n\r\n", _length(6), b"abcdef"],
    "after 103 Early Hints": [b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + _length(6), b"abcdef"],
    "with a trailer": [STREAM_HEAD, b"6\r\nabcdef\r\n0\r\nX-Status: 500\r\n\r\n"],
    "with a chunk extension": [STREAM_HEAD, b"6;name=value\r\nabcdef\r\n0\r\n\r\n"],
    "until the end of the connection": [b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", b"abc", b"def"],
    "by HTTP 1.0": [b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nabcdef"],
    "until the end, and it says so": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabcdef"],
    "with line ends of Unix": [b"HTTP/1.1 200 OK\nContent-Length: 6\n\nabcdef"],
    "with blanks after a size": [STREAM_HEAD, b"6  \r\nabcdef\r\n0\r\n\r\n"],
    "with a control character": [b"HTTP/1.1 200 OK\r\nX-A: \x01\r\nContent-Length: 6\r\n\r\nabcdef"],
    "with many headers": [b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 2000 + b"Content-Length: 6\r\n\r\nabcdef"],
}  # fmt: skip


@pytest.mark.parametrize("parts", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_an_odd_answer_is_understood(play: Play, parts: list[bytes]) -> None:
    with scripted_server(answers(*parts)) as server:
        status, body = play(ask_once(server))

    assert (status, body) == (200, b"abcdef")


def test_an_answer_without_a_body_is_complete(play: Play) -> None:
    with scripted_server(answers_all(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        assert play(ask_once(server)) == (204, b"")


BROKEN_ANSWERS = {
    "in the headers": [b"HTTP/1.1 200 OK\r\nContent-"],
    "in a body of known length": [JSON_ANSWER[:-1]],
    "in a chunk": [STREAM_HEAD, b"6\r\nabc"],
    "between chunks": [STREAM_HEAD, b"3\r\nabc\r\n"],
    "before the last line end": [STREAM_HEAD, b"3\r\nabc\r\n0\r\n"],
    "after 100 Continue": [b"HTTP/1.1 100 Continue\r\n\r\n"],
}


@pytest.mark.parametrize("parts", BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS)
def test_an_answer_that_breaks_off_is_an_error(play: Play, parts: list[bytes]) -> None:
    with scripted_server(answers(*parts)) as server, pytest.raises(ConnectionError, match="in the middle of an answer"):
        play(ask_once(server))


@pytest.mark.parametrize(
    "answer",
    [b"what?\r\n\r\n", STREAM_HEAD + b"xyz\r\n", _UPGRADE],
)
def test_what_is_no_http_is_an_error(play: Play, answer: bytes) -> None:
    with scripted_server(answers(answer)) as server, pytest.raises(ConnectionError, match="is not HTTP"):
        play(ask_once(server))


def test_what_had_come_before_an_answer_broke_off_is_given_first(play: Play) -> None:
    with scripted_server(answers(STREAM_HEAD, b"3\r\nabc\r\n")) as server:

        async def story() -> list[bytes]:
            session, got = HttpSession(UnixConnector(server.path)), []
            with closing(await session.post("/v1/test", {}, b"{}")) as answer, pytest.raises(ConnectionError):
                async for chunk in answer:
                    got.append(chunk)
            return got

        assert b"".join(play(story())) == b"abc"


ENDLESS = {
    "a header": [b"HTTP/1.1 200 OK\r\nX-A: ", *[b"a" * 30_000] * 5],
    "headers": [b"HTTP/1.1 200 OK\r\n", *[b"X-A: b\r\n" * 4000] * 5],
    "interim answers": [b"HTTP/1.1 100 Continue\r\n\r\n" * 1000] * 5,
    "fields after the body": [STREAM_HEAD + b"1\r\na\r\n0\r\n", *[b"X-A: b\r\n" * 4000] * 5],
    "a chunk's extension": [STREAM_HEAD + b"1\r\na\r\n1;", *[b"a" * 30_000] * 5],
}


@pytest.mark.parametrize("parts", ENDLESS.values(), ids=ENDLESS)
def test_what_stands_beside_a_body_may_not_grow_without_end(play: Play, parts: list[bytes]) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(*parts)
        peer.wait_gone()

    with scripted_server(script) as server, pytest.raises(ConnectionError, match="too many headers"):
        play(ask_once(server))


def test_fields_after_a_body_are_counted_that_come_together_with_it(play: Play) -> None:
    """#17: on a machine at work all came in one read, and what stood behind the body there was not counted."""
    is_stopped, is_sent = threading.Event(), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    def stop() -> None:
        is_stopped.set()
        is_sent.wait(10)

    def script(peer: Peer) -> None:
        peer.request()
        loops[0].call_soon_threadsafe(stop)
        is_stopped.wait(10)
        peer.send(STREAM_HEAD + b"1\r\na\r\n0\r\n" + b"X-A: b\r\n" * 14_000)
        is_sent.set()
        peer.wait_gone()

    async def story(server: ScriptedServer) -> None:
        loops.append(asyncio.get_running_loop())
        await ask_once(server)

    with scripted_server(script) as server, pytest.raises(ConnectionError, match="too many headers"):
        play(story(server))


@pytest.mark.parametrize("more", [JSON_ANSWER, b"HTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\nx", b"rubbish"])
def test_a_second_answer_is_not_taken_for_a_part_of_the_first(play: Play, more: bytes) -> None:
    with scripted_server(answers_all(JSON_ANSWER + more)) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            for _ in range(2):
                assert await ask(session) == (200, b'{"fine":true}')
            await session.close()

        play(story())

        assert server.connections == 2
