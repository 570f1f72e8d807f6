"""What callers send before a request is admitted: offers, too much, too slowly, in advance, and in old words."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
import time
from contextlib import ExitStack, suppress
from threading import Event

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dmrc.gateway.server.connection_shares import ConnectionShares
from dmrc.gateway.server.input_limits import InputLimits
from tests.gateway.listening import ask, connect, listening, rest
from tests.polling import eventually

H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
OFFERS = {
    "h2c": H2C,
    "h2c, and the end of the connection": H2C.replace("Upgrade, ", "Upgrade, close, "),
    "websocket": "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n",
    "TLS": "Connection: upgrade\r\nUpgrade: TLS/1.0\r\n",
}
BODIES = {
    "content-length": "Content-Length: 11\r\n\r\nhello world",
    "chunked": "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
}
QUICK = InputLimits(head_seconds=1.0, body_seconds=1.0, body_bytes=10)


def body_of(answer: bytes) -> dict[str, dict[str, object]]:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("body", BODIES)
def test_an_offer_to_upgrade_is_ignored_and_the_body_is_kept(
    offer: str, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    request = f"POST /length HTTP/1.1\r\nHost: x\r\n{OFFERS[offer]}{BODIES[body]}".encode()

    with listening() as port, connect(port) as connection:
        for byte in range(0, len(request), 7):  # cut anywhere
            connection.sendall(request[byte : byte + 7])
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.read() == b"POST /length\nhello world"
        if "close" not in OFFERS[offer]:  # the connection goes on, with a second offer and without one
            for follower in (request, b"GET /length HTTP/1.1\r\nHost: x\r\n\r\n"):
                connection.sendall(follower)
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                assert answer.read().startswith((b"POST /length\nhello", b"GET /length"))

    assert answer.status == 200
    assert not [line for line in caplog.messages if "pgrade" in line or "ebSocket" in line or "nvalid" in line]


def test_requests_with_offers_in_one_packet_are_answered_in_order() -> None:
    request = f"POST /length HTTP/1.1\r\nHost: x\r\n{H2C}{BODIES['chunked']}".encode()
    last = b"GET /last HTTP/1.0\r\n\r\n"

    with listening() as port:
        answer = ask(port, request * 3 + last)

    assert answer.count(b"hello world") == 3
    assert answer.endswith(b"GET /last\n")


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (431, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5_000_000 + b"\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 10_000 + b"\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 200 + b"\r\n"),
        (414, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"),
        (400, f"POST / HTTP/1.1\r\nHost: x\r\n{H2C}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n".encode()),
    ],
)
def test_a_head_that_is_too_large_or_no_http_is_refused_in_json_and_the_connection_ends(
    status: int, sent: bytes
) -> None:
    with listening() as port:
        answer = ask(port, sent)

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nconnection: close\r\n" in answer
    assert body_of(answer)["error"]["code"] == "invalid_request_error"


def test_the_refusal_is_in_the_words_of_the_callers_dialect() -> None:
    with listening() as port:
        answer = ask(port, b"POST /anthropic/v1/messages HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000)

    assert body_of(answer)["error"]["type"] == "invalid_request_error"
    assert b'"type": "error"' in answer


def test_sixty_thousand_bytes_and_a_hundred_headers_are_let_in() -> None:
    large = b"X: " + b"a" * 60_000 + b"\r\n"

    with listening() as port:
        for headers in (large, b"X: a\r\n" * 100):
            assert b"200 OK" in ask(port, b"GET / HTTP/1.0\r\nHost: x\r\n" + headers + b"\r\n")


def test_a_head_that_follows_a_long_body_in_the_same_packet_is_not_counted_with_it() -> None:
    request = b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000

    with listening() as port:
        answer = ask(port, request * 3 + b"GET /last HTTP/1.0\r\nHost: x\r\n\r\n")

    assert answer.count(b"200 OK") == 4


@pytest.mark.parametrize(
    "after",
    [
        b"5;" + b"a" * 2_000_000,
        b"5\r\nhello\r\n0\r\n" + b"X: a\r\n" * 200 + b"\r\n",
        b"5\r\nhello\r\n0\r\nX: " + b"a" * 2_000_000,
    ],
    ids=["extension of a chunk", "many trailers", "long trailer"],
)
def test_what_stands_around_a_chunked_body_is_bounded(after: bytes) -> None:
    with listening() as port:
        answer = ask(port, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + after)

    assert answer.startswith(b"HTTP/1.1 431 ")


def test_after_a_long_body_a_kept_connection_takes_the_next_request() -> None:
    """What had come of the body before was taken for what stands around the next one."""
    long, short = b"a" * 300_000, b"hello world"

    with listening() as port, connect(port) as connection:
        for body in (long, short, long, long, short):
            head = f"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            connection.sendall(head + body)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.read().endswith(body[:11])
            assert answer.status == 200


def test_parts_of_one_byte_are_a_body_and_a_trailer_is_no_header() -> None:
    seen: list[list[tuple[bytes, bytes]]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        seen.append(scope["headers"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    parts = b"1\r\na\r\n" * 100_000 + b"0\r\nAuthorization: Bearer x\r\n\r\n"
    with listening(app) as port:
        answer = ask(
            port, b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + parts
        )

    assert answer.startswith(b"HTTP/1.1 204 ")
    assert b"authorization" not in dict(seen[0])


def test_the_parts_of_a_body_that_came_together_are_passed_on_together(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[int] = []
    pass_on = HttpToolsProtocol.on_body

    def counting(self: HttpToolsProtocol, body: bytes) -> None:
        passed.append(len(body))
        pass_on(self, body)

    monkeypatch.setattr(HttpToolsProtocol, "on_body", counting)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with listening() as port:
        answer = ask(port, head + b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n")

    assert answer.count(b"a") >= 20_000
    assert sum(passed) == 20_000
    assert len(passed) < 2_000


def test_requests_in_advance_are_answered_up_to_a_number_and_then_the_connection_ends() -> None:
    with listening() as port:
        answer = ask(port, b"GET /length HTTP/1.1\r\nHost: x\r\n\r\n" * 3000)

    assert 10 < answer.count(b"200 OK") < 50


@pytest.mark.slow("waits for a time limit")
@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"GET / HT", b"HTTP/1.1 408 "),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"HTTP/1.1 408 "),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf", b"HTTP/1.1 408 "),
        (f"POST / HTTP/1.1\r\nHost: x\r\n{H2C}Content-Length: 10\r\n\r\nhalf".encode(), b"HTTP/1.1 408 "),
    ],
    ids=["nothing", "a line break", "half a line", "half a head", "half a body", "half a body after an offer"],
)
def test_a_request_that_does_not_come_to_its_end_ends_the_connection(sent: bytes, answer: bytes) -> None:
    began = time.monotonic()

    with listening(limits=QUICK) as port:
        received = ask(port, sent)

    assert received.startswith(answer)
    assert bool(received) == bool(answer)
    assert time.monotonic() - began < 10


@pytest.mark.slow("waits for a time limit")
@pytest.mark.parametrize("place", ["head", "body"])
def test_a_byte_now_and_then_is_not_enough(place: str) -> None:
    sent = {"head": b"GET / HTTP/1.1\r\nX: ", "body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"}

    with listening(limits=QUICK) as port, connect(port, sent[place]) as connection:
        connection.settimeout(0.5)  # the listener looks each second, so it judges up to two: 4 bytes, and it wants 10
        deadline, answer = time.monotonic() + 10, b""
        while not answer and time.monotonic() < deadline:
            connection.sendall(b"a")
            with suppress(TimeoutError):
                answer = connection.recv(1000)

    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.slow("waits longer than a time limit")
def test_a_body_that_comes_slowly_is_taken_and_so_is_one_that_the_application_reads_late() -> None:
    goes_on = Event()

    async def reads_late(scope: Scope, receive: Receive, send: Send) -> None:
        while not goes_on.is_set():
            await asyncio.sleep(0.05)
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    head = b"POST /length HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 300000\r\n\r\n"
    unhurried = InputLimits(head_seconds=2.0, body_seconds=2.0, body_bytes=10)
    with listening(limits=unhurried) as port, connect(port, head) as connection:
        for _ in range(50):  # longer than twice the limit
            connection.sendall(b"a" * 6_000)
            time.sleep(0.1)
        assert rest(connection).startswith(b"HTTP/1.1 200 ")
    with listening(reads_late, QUICK) as port, connect(port, head + b"a" * 200_000) as connection:
        time.sleep(3)
        goes_on.set()
        connection.sendall(b"a" * 100_000)
        assert rest(connection).startswith(b"HTTP/1.1 204 ")


def test_the_callers_of_an_address_make_room_for_one_another(caplog: pytest.LogCaptureFixture) -> None:
    with listening(shares=ConnectionShares(10, 5)) as port, ExitStack() as stack:
        kept = stack.enter_context(connect(port))
        for _ in range(20):
            stack.enter_context(connect(port))
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                assert b"200 OK" in ask(port, b"GET / HTTP/1.0\r\n\r\n")
        assert rest(kept) == b""

    assert any("too many of 127.0.0.1" in line for line in caplog.messages)


def test_a_caller_is_refused_where_all_before_have_a_request_in_flight() -> None:
    goes_on, in_flight = Event(), list[Scope]()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        in_flight.append(scope)
        while not goes_on.is_set():
            await asyncio.sleep(0.05)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with listening(waits, shares=ConnectionShares(10, 3)) as port, ExitStack() as stack:
        busy = [stack.enter_context(connect(port, request)) for _ in range(3)]
        eventually(lambda: len(in_flight) == 3, "three requests in flight")
        refused = ask(port, b"")
        goes_on.set()
        answers = [rest(connection) for connection in busy]
        eventually(lambda: ask(port, request).startswith(b"HTTP/1.1 204 "))

    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in refused
    assert all(answer.startswith(b"HTTP/1.1 204 ") for answer in answers)


@pytest.mark.parametrize("path", ["/", "/length"])
def test_a_caller_of_http_1_0_gets_no_chunks(path: str) -> None:
    with listening() as port:
        answer = ask(port, f"GET {path} HTTP/1.0\r\n\r\n".encode())

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body == f"GET {path}\n".encode()


def test_the_first_of_two_requests_in_one_packet_hears_of_the_end_of_the_connection() -> None:
    begun, heard = Event(), Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        if scope["path"] == "/first":
            heard.set()

    with listening(waits) as port:
        connection = connect(port, b"GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n")
        assert begun.wait(30)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.close()
        assert heard.wait(30)
