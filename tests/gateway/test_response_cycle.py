"""How an answer goes out, and how a request hears of a caller who hangs up."""

from __future__ import annotations

import threading

import pytest
from starlette.types import Receive, Scope, Send

from dmrc.gateway.server.response_cycle import ResponseCycle, hang_ups_of
from tests.gateway.listening import ask, connect, listening, rest
from tests.polling import eventually

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send(HEAD)
    await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What each call of the transport is given."""
    found: list[bytes] = []
    write = ResponseCycle._write

    def noted(self: ResponseCycle, data: bytes) -> None:
        found.append(self._held + data)
        write(self, data)

    monkeypatch.setattr(ResponseCycle, "_write", noted)
    return found


def test_a_short_answer_is_one_packet(written: list[bytes]) -> None:
    with listening(answer) as port, connect(port, GET) as connection:
        eventually(lambda: written, seconds=20)
        connection.sendall(GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        received = rest(connection)

    assert len(written) == 2
    assert all(one.startswith(b"HTTP/1.1 200 OK\r\n") and one.endswith(b"\r\n\r\ndone") for one in written)
    assert received == b"".join(written)


def test_the_head_does_not_wait_for_a_body_that_comes_later() -> None:
    asked = threading.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await send(HEAD)
        asked.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    with listening(slow) as port, connect(port, GET) as connection:
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += connection.recv(65536)

    assert asked.is_set()
    assert b"content-length: 4" in received


def test_the_head_is_sent_where_the_application_fails_before_the_body() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await send(HEAD)
        raise RuntimeError("after the head")

    with listening(failing) as port:
        received = ask(port, GET)

    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("body", [b"don", b"done!"])
def test_a_body_of_another_length_ends_the_connection(body: bytes) -> None:
    async def wrong(scope: Scope, receive: Receive, send: Send) -> None:
        await send(HEAD)
        await send({"type": "http.response.body", "body": body})

    with listening(wrong) as port:
        received = ask(port, GET)

    assert not received.endswith(b"done!")


def test_a_header_cannot_hold_another_one() -> None:
    async def splitting(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"x-model", b"m\r\nset-cookie: a=b"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    with listening(splitting) as port:
        assert b"set-cookie" not in ask(port, GET)


def test_a_request_hears_once_that_its_caller_has_gone() -> None:
    heard: list[str] = []

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        watch = hang_ups_of(scope)
        watch(lambda: heard.append("meanwhile"))
        while (await receive())["type"] != "http.disconnect":
            pass
        watch(lambda: heard.append("too late"))
        watch(None)

    with listening(waiting) as port:
        connect(port, GET).close()
        eventually(lambda: len(heard) == 2, seconds=20)

    assert heard == ["meanwhile", "too late"]


def test_nobody_hears_of_a_caller_who_goes_after_the_answer() -> None:
    heard: list[str] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        hang_ups_of(scope)(lambda: heard.append("gone"))
        await answer(scope, receive, send)

    with listening(watched) as port:
        assert ask(port, GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")).endswith(b"done")

    assert heard == []
