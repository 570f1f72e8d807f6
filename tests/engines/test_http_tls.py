"""The engines' HTTP client by TLS, against a server that misbehaves."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest

from dmrc.engines.http_client.connectors import UnreachableError
from dmrc.engines.http_client.session import HttpSession
from dmrc.engines.http_client.tcp_connector import TcpConnector
from tests.engines.certificates import Authority
from tests.engines.scripted_server import JSON_ANSWER, STREAM_HEAD, Peer, answers, answers_all, tcp_server
from tests.engines.stories import Play, ask
from tests.polling import eventually

FINE = (200, b'{"fine":true}')
STREAM = STREAM_HEAD + b"6\r\nabcdef\r\n0\r\n\r\n"


def session_to(url: str) -> HttpSession:
    return HttpSession(TcpConnector(url, None))


def test_tls_is_checked_by_what_is_trusted_and_names_the_server(play: Play, trusted: Authority) -> None:
    named: list[str | None] = []
    context = trusted.server_context()
    context.sni_callback = lambda _socket, name, _context: named.append(name)
    with tcp_server(answers_all(STREAM), context=context) as server:

        async def story() -> None:
            for host in ("localhost", "127.0.0.1"):
                session = session_to(f"https://{host}:{server.port}")
                for _ in range(3):
                    assert await ask(session) == (200, b"abcdef")
                await session.close()

        play(story())

        assert named == ["localhost", None]
        assert server.connections == 2


def test_a_certificate_that_nobody_trusts_is_an_error_that_says_why(play: Play, authority: Authority) -> None:
    why = r"its certificate is not valid \(.*unable to get local issuer certificate"
    with tcp_server(answers_all(), context=authority.server_context()) as server:
        with pytest.raises(UnreachableError, match=why):
            play(ask(session_to(f"https://localhost:{server.port}")))

        assert server.connections == 1


def test_a_certificate_of_another_server_is_an_error_that_says_so(play: Play, trusted: Authority) -> None:
    why = r"its certificate is not valid \(.*IP address mismatch"
    with tcp_server(answers_all(), host="127.0.0.2", context=trusted.server_context()) as server:
        with pytest.raises(UnreachableError, match=why):
            play(ask(session_to(f"https://127.0.0.2:{server.port}")))

        assert server.connections == 1


def test_a_server_without_tls_is_an_error(play: Play) -> None:
    with tcp_server(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        with pytest.raises(UnreachableError, match="SSL"):
            play(ask(session_to(f"https://localhost:{server.port}")))

        assert server.connections == 1


def test_a_slow_reader_slows_a_server_with_tls_down(play: Play, trusted: Authority) -> None:
    sent: list[int] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM_HEAD)
        for _ in range(400):
            peer.chunk(bytes(65536))
            sent.append(65536)
        peer.send(b"0\r\n\r\n")
        peer.wait_gone()

    with tcp_server(script, context=trusted.server_context()) as server:

        async def story() -> int:
            session = session_to(f"https://localhost:{server.port}")
            with closing(await session.post("/v1/test", {}, bytes(8 << 20))) as answer:
                chunks, before = aiter(answer), -1
                received = len(await anext(chunks))
                while len(sent) != before:
                    before = len(sent)
                    await asyncio.sleep(0.2)
                assert sum(sent) < 16 << 20
                received += sum([len(chunk) async for chunk in chunks])
            await session.close()
            return received

        assert play(story()) == 400 * 65536


def test_an_answer_by_tls_ends_with_its_connection_or_breaks_off(play: Play, trusted: Authority) -> None:
    until_the_end = answers(b"HTTP/1.1 200 OK\r\n\r\nabc", b"def")
    with tcp_server(until_the_end, answers(STREAM_HEAD, b"6\r\nabc"), context=trusted.server_context()) as server:

        async def story() -> None:
            session = session_to(f"https://localhost:{server.port}")
            assert await ask(session) == (200, b"abcdef")
            with pytest.raises(ConnectionError, match="in the middle of an answer"):
                await ask(session)

        play(story())


def test_a_kept_connection_by_tls_that_the_server_ended_is_made_good(play: Play, trusted: Authority) -> None:
    def closes_at_the_second(peer: Peer) -> None:
        peer.request()
        peer.send(JSON_ANSWER)
        peer.request()

    with tcp_server(closes_at_the_second, answers_all(), context=trusted.server_context()) as server:

        async def story() -> None:
            session = session_to(f"https://localhost:{server.port}")
            assert await ask(session) == FINE
            assert await ask(session) == FINE
            await session.close()

        play(story())

        assert server.connections == 2


def test_a_caller_who_goes_while_a_server_shakes_hands_leaves_nothing(play: Play) -> None:
    with tcp_server(Peer.wait_gone) as server:

        async def story() -> None:
            asked = asyncio.create_task(ask(session_to(f"https://localhost:{server.port}")))
            await asyncio.to_thread(eventually, lambda: server.connections == 1)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            await asyncio.to_thread(eventually, lambda: server.ended == 1)

        play(story())
