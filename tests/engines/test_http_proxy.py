"""The engines' HTTP client through a forward proxy: one that wants a password, one behind TLS, and ones that refuse."""

from __future__ import annotations

import select
import socket
from contextlib import closing, suppress

import pytest

from dmrc.engines.http_client.connectors import UnreachableError
from dmrc.engines.http_client.session import HttpSession
from dmrc.engines.http_client.tcp_connector import TcpConnector
from dmrc.proxies import Proxy
from tests.engines.certificates import Authority
from tests.engines.scripted_server import JSON_ANSWER, Peer, Script, ScriptedServer, answers, answers_all, tcp_server
from tests.engines.stories import Play, ask
from tests.ports import free_port
from tests.sources.forward_proxy import PASSWORD, USER, forward_proxy

FINE = (200, b'{"fine":true}')


def session_by(port: int, url: str, *, scheme: str = "http", host: str = "127.0.0.1") -> HttpSession:
    return HttpSession(TcpConnector(url, Proxy(scheme, host, port, "HTTPS_PROXY", USER, PASSWORD)))


def test_a_server_by_http_is_asked_by_its_url(play: Play) -> None:
    heads: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.request()
        heads.append(peer.head)
        peer.send(JSON_ANSWER)

    with tcp_server(script) as server, forward_proxy({"far.test:81": f"127.0.0.1:{server.port}"}) as proxy:
        assert play(ask(session_by(proxy.server_port, "http://far.test:81/path"))) == FINE

    assert proxy.requests == [("POST", "http://far.test:81/path/v1/test")]
    assert proxy.refused == 0
    assert b"proxy-authorization" not in heads[0].lower()


def test_a_server_by_tls_is_reached_through_one_tunnel_for_all_requests(play: Play, trusted: Authority) -> None:
    heads: list[bytes] = []

    def script(peer: Peer) -> None:
        while True:
            peer.request()
            heads.append(peer.head)
            peer.send(JSON_ANSWER)

    with (
        tcp_server(script, context=trusted.server_context()) as server,
        forward_proxy({"far.test:443": f"127.0.0.1:{server.port}"}) as proxy,
    ):

        async def story() -> None:
            session = session_by(proxy.server_port, "https://far.test/v1")
            for _ in range(3):
                assert await ask(session) == FINE
            await session.close()

        play(story())

    assert proxy.requests == [("CONNECT", "far.test:443")]
    assert proxy.refused == 0
    assert len(heads) == 3
    assert all(b"proxy-authorization" not in head.lower() for head in heads)


def test_the_certificate_of_the_server_behind_a_tunnel_is_checked(play: Play, authority: Authority) -> None:
    with (
        tcp_server(answers_all(), context=authority.server_context()) as server,
        forward_proxy({"far.test:443": f"127.0.0.1:{server.port}"}) as proxy,
        pytest.raises(UnreachableError, match="its certificate is not valid") as caught,
    ):
        play(ask(session_by(proxy.server_port, "https://far.test/v1")))

    assert not caught.value.is_proxys


def _tunnels_to(server: ScriptedServer) -> Script:
    """Open a tunnel, and pass bytes on in both directions, in one thread: a connection with TLS is not for two."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.0 200 Connection established\r\nProxy-Agent: test\r\n\r\n")
        with socket.create_connection(server.address) as upstream, suppress(OSError):
            others = {peer.connection: upstream, upstream: peer.connection}
            while True:
                for source in select.select([*others], [], [])[0]:
                    data = source.recv(65536)  # at least one record of TLS, whole
                    if not data:
                        return
                    others[source].sendall(data)

    return script


def test_a_proxy_may_be_spoken_to_by_tls_itself(play: Play, trusted: Authority) -> None:
    with (
        tcp_server(answers_all(), context=trusted.server_context()) as server,
        tcp_server(_tunnels_to(server), context=trusted.server_context()) as proxy,
    ):

        async def story() -> None:
            session = session_by(proxy.port, "https://far.test/v1", scheme="https", host="localhost")
            for _ in range(2):
                assert await ask(session) == FINE
            await session.close()

        play(story())

        assert (proxy.connections, server.connections) == (1, 1)


REFUSALS = {
    "a password": (answers(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n"), "407 Who are you"),
    "a policy": (answers(b"HTTP/1.1 403 Not in this house\r\nContent-Length: 2\r\n\r\nno"), "403 Not in this house"),
    "no way on": (answers(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), "502 Bad Gateway"),
    "silence": (answers(), "without an answer"),
    "no HTTP": (answers(b"SSH-2.0-OpenSSH\r\n"), "is not HTTP"),
}  # fmt: skip


@pytest.mark.parametrize(("script", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_what_a_proxy_refuses_is_told_as_its_own(play: Play, script: Script, reason: str) -> None:
    with tcp_server(script) as proxy:
        with pytest.raises(UnreachableError, match="cannot be reached") as caught:
            play(ask(session_by(proxy.port, "https://far.test/v1")))

        assert proxy.connections == 1
    assert caught.value.is_proxys
    assert reason in caught.value.reason
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("url", ["http://far.test", "https://far.test"])
def test_a_proxy_that_is_away_is_told_so(play: Play, url: str) -> None:
    with pytest.raises(UnreachableError, match="Connection refused") as caught:
        play(ask(session_by(free_port(), url)))

    assert caught.value.is_proxys


def test_an_answer_of_a_proxy_is_the_answer_where_no_tunnel_is_wanted(play: Play) -> None:
    with forward_proxy({"far.test": "127.0.0.1:1"}) as proxy:

        async def story() -> int:
            session = HttpSession(TcpConnector("http://far.test", Proxy("http", "127.0.0.1", proxy.server_port, "X")))
            with closing(await session.get("/models")) as answer:
                return answer.status

        assert play(story()) == 407
