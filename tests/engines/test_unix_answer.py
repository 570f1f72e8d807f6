"""What the runners' HTTP client makes of answers that are odd, broken, or no HTTP at all."""

from __future__ import annotations

from contextlib import closing

import pytest

from dmrc.engines.unix_session import UnixSession
from tests.engines.scripted_server import JSON_ANSWER, STREAM_HEAD, answers, answers_all, scripted_server
from tests.engines.stories import Play, ask_once


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
    with scripted_server(answers(answer)) as server, pytest.raises(ConnectionError, match="no HTTP"):
        play(ask_once(server))


def test_what_had_come_before_an_answer_broke_off_is_given_first(play: Play) -> None:
    with scripted_server(answers(STREAM_HEAD, b"3\r\nabc\r\n")) as server:

        async def story() -> list[bytes]:
            session, got = UnixSession(server.path), []
            with closing(await session.post("/v1/test", {}, b"{}")) as answer, pytest.raises(ConnectionError):
                async for chunk in answer:
                    got.append(chunk)
            return got

        assert b"".join(play(story())) == b"abc"
