"""The runners' HTTP client and its connections, against a server that misbehaves.

The real engine is behind the tests of the gateway.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from dmrc.engines.http_client import connectors
from dmrc.engines.http_client.connectors import UnixConnector
from dmrc.engines.http_client.session import HttpSession
from tests.engines.scripted_server import JSON_ANSWER, STREAM_HEAD, Peer, Script, answers_all, scripted_server
from tests.engines.stories import Play, ask, only_uvloop
from tests.polling import eventually


def test_requests_at_the_same_time_have_a_connection_each(play: Play) -> None:
    meeting = threading.Barrier(3)

    def script(peer: Peer) -> None:
        peer.request()
        meeting.wait(10)
        peer.send(JSON_ANSWER)

    with scripted_server(script) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            await asyncio.gather(*(ask(session) for _ in range(3)))
            await session.close()

        play(story())

        assert server.connections == 3


def test_the_request_arrives_as_it_was_given(play: Play) -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        seen.append(peer.connection.recv(65536))
        peer.send(JSON_ANSWER)

    with scripted_server(script) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            headers = {"content-type": "application/json", "x-name": "caf\xe9"}
            (await session.post("/v1/test", headers, b'{"a":1}')).close()
            await session.close()

        play(story())

    assert seen == [
        b"POST /v1/test HTTP/1.1\r\nhost: runner\r\ncontent-length: 7\r\n"
        b'content-type: application/json\r\nx-name: caf\xe9\r\n\r\n{"a":1}'
    ]


@pytest.mark.parametrize("value", ["a\nb", "a\r\nb: c", "a\r"])
def test_a_header_with_a_line_break_is_refused(play: Play, tmp_path: Path, value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        play(HttpSession(UnixConnector(tmp_path / "s")).post("/v1/test", {"x-name": value}, b"{}"))


@pytest.mark.slow("20 MiB")
def test_a_large_request_arrives_whole(play: Play) -> None:
    sizes: list[int] = []

    def script(peer: Peer) -> None:
        sizes.append(len(peer.request()))
        peer.send(JSON_ANSWER)

    with scripted_server(script) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            assert (await ask(session, bytes(20 << 20)))[0] == 200
            await session.close()

        play(story())

    assert sizes == [20 << 20]


def _floods(sent: list[int]) -> Script:
    """Answer with 100 MB of chunks as fast as they are taken, and count what was."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM_HEAD)
        for _ in range(1600):
            peer.chunk(bytes(65536))
            sent.append(65536)
        peer.send(b"0\r\n\r\n")

    return script


def test_a_slow_reader_slows_the_engine_down(play: Play) -> None:
    sent: list[int] = []
    with scripted_server(_floods(sent)) as server:

        async def story() -> int:
            session = HttpSession(UnixConnector(server.path))
            with closing(await session.post("/v1/test", {}, b"{}")) as answer:
                chunks = aiter(answer)
                received = len(await anext(chunks))
                before = -1
                while len(sent) != before:
                    before = len(sent)
                    await asyncio.sleep(0.2)
                assert sum(sent) < 4 << 20
                async for chunk in chunks:
                    received += len(chunk)
                    assert len(chunk) < 1 << 20
            return received

        assert play(story()) == 1600 * 65536


def test_closing_an_answer_in_the_middle_ends_the_connection(play: Play) -> None:
    with scripted_server(_floods([])) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            answer = await session.post("/v1/test", {}, b"{}")
            await anext(aiter(answer))
            answer.close()
            answer.close()
            await asyncio.to_thread(eventually, lambda: server.ended == 1)

        play(story())


def test_a_caller_that_is_cancelled_while_it_waits_ends_the_connection(play: Play) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        asked.set()
        peer.wait_gone()

    asked = threading.Event()
    with scripted_server(script) as server:

        async def story() -> None:
            task = asyncio.create_task(ask(HttpSession(UnixConnector(server.path))))
            await asyncio.to_thread(asked.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(eventually, lambda: server.ended == 1)

        play(story())


def test_closing_the_session_ends_what_rests_and_leaves_what_is_in_use(play: Play) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        meeting.wait(10)
        peer.send(JSON_ANSWER)
        peer.wait_gone()

    meeting = threading.Event()
    with scripted_server(answers_all(), script) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            assert (await ask(session))[0] == 200
            kept = await session.post("/v1/test", {}, b"{}")
            in_use = asyncio.create_task(ask(session))
            await asyncio.to_thread(eventually, lambda: server.connections == 2)
            kept.close()
            await session.close()
            await asyncio.to_thread(eventually, lambda: server.ended == 1)
            meeting.set()
            assert (await in_use)[0] == 200
            await asyncio.to_thread(eventually, lambda: server.ended == 2)

        play(story())


def test_a_socket_that_is_not_there_is_an_error_that_says_so(play: Play, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="cannot be reached: No such file"):
        play(ask(HttpSession(UnixConnector(tmp_path / "none.sock"))))


@only_uvloop
def test_a_full_backlog_is_waited_for(play: Play, tmp_path: Path) -> None:
    """cpp-httplib listens with a backlog of 5, and a burst after a swap is larger."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen(0)

    def serve() -> None:
        for _ in range(8):
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(JSON_ANSWER)
            connection.close()

    async def story() -> list[tuple[int, bytes]]:
        session = HttpSession(UnixConnector(tmp_path / "s"))
        asked = [asyncio.create_task(ask(session)) for _ in range(8)]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(serve)
        return await asyncio.gather(*asked)

    assert play(story()) == [(200, b'{"fine":true}')] * 8
    listener.close()


@only_uvloop
def test_a_backlog_that_stays_full_is_an_error(play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connectors, "_CONNECT_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        first.connect(str(tmp_path / "s"))

        async def story() -> None:
            with pytest.raises(ConnectionError, match="takes no connection"):
                await ask(HttpSession(UnixConnector(tmp_path / "s")))

        play(story())
