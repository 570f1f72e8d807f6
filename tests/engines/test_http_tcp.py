"""The engines' HTTP client by TCP, against a server that misbehaves."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import closing
from typing import Any

import pytest

from dmrc.engines.http_client.connection_options import ConnectionOptions
from dmrc.engines.http_client.connectors import UnreachableError
from dmrc.engines.http_client.session import HttpSession
from dmrc.engines.http_client.tcp_connector import TcpConnector
from tests.engines.certificates import Authority
from tests.engines.scripted_server import JSON_ANSWER, STREAM_HEAD, Peer, answers_all, tcp_server
from tests.engines.stories import Play, ask
from tests.polling import eventually
from tests.ports import free_port

FINE = (200, b'{"fine":true}')
STREAM = STREAM_HEAD + b"6\r\nabcdef\r\n0\r\n\r\n"


def session_to(url: str, **options: Any) -> HttpSession:
    connector = TcpConnector(url, None)
    connector.options = ConnectionOptions(**options) if options else connector.options
    return HttpSession(connector)


def test_a_path_of_the_server_and_its_port_are_in_the_request(play: Play) -> None:
    heads: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.request()
        heads.append(peer.head)
        peer.send(JSON_ANSWER)

    with tcp_server(script) as server:
        assert play(ask(session_to(f"http://127.0.0.1:{server.port}/caf\xe9 au/l%20it"))) == FINE

    lines = heads[0].split(b"\r\n")
    assert lines[0] == b"POST /caf%C3%A9%20au/l%20it/v1/test HTTP/1.1"
    assert b"host: 127.0.0.1:%d" % server.port in lines


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://a.test", "a.test"),
        ("http://a.test:80/v1", "a.test"),
        ("https://a.test:443", "a.test"),
        ("https://a.test:80", "a.test:80"),
        ("http://A.Test", "a.test"),
        ("http://m\xfcnchen.test", "xn--mnchen-3ya.test"),
        ("http://[fd00::1]:81", "[fd00::1]:81"),
        ("http://[fe80::1%25eth0]", "[fe80::1]"),
    ],
)
def test_a_host_is_named_as_servers_know_it(url: str, host: str) -> None:
    assert TcpConnector(url, None).host == host


@pytest.mark.parametrize("url", ["http://a.test:99999", "http://a..test", f"http://{'a' * 70}.test"])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        TcpConnector(url, None)


def test_a_name_and_an_address_of_the_new_kind_are_connected_to(play: Play) -> None:
    with tcp_server(answers_all()) as server, tcp_server(answers_all(), host="::1") as other:

        async def story() -> None:
            for url in (f"http://localhost:{server.port}", f"http://[::1]:{other.port}"):
                session = session_to(url)
                assert await ask(session) == FINE
                await session.close()

        play(story())


@pytest.mark.parametrize("play", ["asyncio"], indirect=True)
def test_an_address_that_leads_nowhere_holds_nobody_up(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog that is full takes no packet, as a router that drops them does; the system would wait for minutes."""
    with tcp_server(answers_all()) as server, socket.socket(socket.AF_INET6) as dead:
        dead.bind(("::1", server.port))
        dead.listen(0)
        fillers = [socket.socket(socket.AF_INET6) for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("::1", server.port))
        found = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", server.port, 0, 0)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", server.port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_more: found)

        async def story() -> None:
            session = session_to("http://two.test")
            assert await asyncio.wait_for(ask(session), 9) == FINE
            await session.close()

        play(story())
        for filler in fillers:
            filler.close()


def test_a_refused_connection_and_an_unknown_name_say_so(play: Play) -> None:
    with pytest.raises(UnreachableError, match="cannot be reached: Connection refused"):
        play(ask(session_to(f"http://127.0.0.1:{free_port()}")))
    with pytest.raises(UnreachableError, match=r"(?i)name|resolution"):
        play(ask(session_to("http://nothing.invalid")))


def test_a_connection_is_kept_after_a_stream_too(play: Play) -> None:
    with tcp_server(answers_all(STREAM)) as server:

        async def story() -> None:
            session = session_to(f"http://127.0.0.1:{server.port}")
            for _ in range(3):
                assert await ask(session) == (200, b"abcdef")
            await session.close()

        play(story())

        assert server.connections == 1


def test_a_connection_that_rests_for_too_long_is_ended(play: Play) -> None:
    with tcp_server(answers_all()) as server:

        async def story() -> None:
            session = session_to(f"http://127.0.0.1:{server.port}", rest_seconds=0.2)
            for _ in range(3):
                assert await ask(session) == FINE
            await asyncio.to_thread(eventually, lambda: server.ended == 1)
            assert await ask(session) == FINE
            await session.close()

        play(story())

        assert server.connections == 2


def _goes_silent(peer: Peer) -> None:
    peer.request()
    peer.send(JSON_ANSWER)
    peer.request()
    peer.wait_gone()


def test_a_silent_server_is_given_up_and_not_asked_again(play: Play) -> None:
    with tcp_server(_goes_silent) as server:

        async def story() -> None:
            session = session_to(f"http://127.0.0.1:{server.port}", silence_seconds=2)
            assert await ask(session) == FINE
            with pytest.raises(ConnectionError, match="does not answer in time"):
                await ask(session)

        play(story())

        assert server.connections == 1


@pytest.mark.slow("waits longer than a silent server may take")
def test_a_stream_may_take_long_as_long_as_something_comes(play: Play) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM_HEAD)
        for _ in range(6):
            paused.wait(0.3)
            peer.chunk(b"a")
        peer.wait_gone()

    paused = threading.Event()
    with tcp_server(script) as server:

        async def story() -> bytes:
            session, got = session_to(f"http://127.0.0.1:{server.port}", silence_seconds=1.5), b""
            with closing(await session.post("/", {}, b"{}")) as answer, pytest.raises(ConnectionError, match="in time"):
                async for chunk in answer:
                    got += chunk
            return got

        assert play(story()) == b"aaaaaa"


def test_an_answer_that_comes_before_the_request_was_taken_is_given(play: Play) -> None:
    """As a server does that finds a request too large; the connection cannot be used again."""

    def script(peer: Peer) -> None:
        peer.connection.recv(1000)
        peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge")
        peer.wait_gone()

    with tcp_server(script, answers_all()) as server:

        async def story() -> None:
            session = session_to(f"http://127.0.0.1:{server.port}")
            # It reads nothing before the answer was taken, so most of the body is still here.
            assert await ask(session, bytes(64 << 20)) == (413, b"large")
            assert await ask(session) == FINE
            await session.close()

        play(story())

        assert server.connections == 2


@pytest.mark.parametrize("is_secure", [False, True], ids=["TCP", "TLS"])
def test_a_long_request_is_sent_to_its_end_whatever_is_answered_meanwhile(
    play: Play, trusted: Authority, is_secure: bool
) -> None:
    def script(peer: Peer) -> None:
        while data := peer.connection.recv(65536):
            head, _, body = data.partition(b"\r\n\r\n")
            assert head.startswith(b"POST ")
            peer.send(STREAM_HEAD)
            missing = (28 << 20) - len(body)
            while missing:
                missing -= len(peer.connection.recv(65536))
            peer.send(b"6\r\nabcdef\r\n0\r\n\r\n")

    with tcp_server(script, context=trusted.server_context() if is_secure else None) as server:

        async def story() -> None:
            session = session_to(f"http{'s' if is_secure else ''}://localhost:{server.port}")
            for _ in range(2):
                assert await ask(session, bytes(28 << 20)) == (200, b"abcdef")
            await session.close()

        play(story())

        assert server.connections == 1
