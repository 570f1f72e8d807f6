"""How the runners' HTTP client gives an answer to a sink: out of the event loop's own call, and held back by it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from dataclasses import replace

import pytest

from dmrc.engines.http_client.connectors import UnixConnector
from dmrc.engines.http_client.session import HttpSession
from dmrc.streaming import Giver
from tests.engines.scripted_server import JSON_ANSWER, STREAM_HEAD, Peer, answers_all, scripted_server
from tests.engines.stories import Play

_PIECE = bytes(64 << 10)


class Sink:
    """Takes an answer; it may hold its giver back at the first piece, or fail."""

    def __init__(self, *, holds: bool = False, error: Exception | None = None) -> None:
        self.size = 0
        self.has_come = asyncio.Event()
        self.by_task: list[bool] = []
        self.giver: Giver
        self._holds = holds
        self._error = error

    def begin(self, giver: Giver) -> None:
        self.giver = giver

    def take(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.by_task.append(asyncio.current_task() is not None)
        self.has_come.set()
        if self._error is not None:
            raise self._error
        if self._holds:
            self._holds = False
            self.giver.pause()


def test_a_chunk_wakes_nobody(play: Play) -> None:
    """Each piece comes by the call in which it was read; to wake a task for it costs more than all the rest."""
    told = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM_HEAD)
        for _ in range(50):
            peer.chunk(b"abc")
            told.acquire(timeout=10)
        peer.send(b"0\r\n\r\n")

    class Telling(Sink):
        def take(self, chunk: bytes) -> None:
            super().take(chunk)
            told.release()

    with scripted_server(script) as server:

        async def story() -> Sink:
            sink, session = Telling(), HttpSession(UnixConnector(server.path))
            with closing(await session.post("/v1/test", {}, b"{}")) as answer:
                await answer.into(sink)
            return sink

        sink = play(story())

    assert sink.size == 150
    assert sink.by_task[1:] == [False] * 49  # the first may have come with the head


def test_a_sink_that_has_enough_slows_the_engine_down(play: Play) -> None:
    sent: list[int] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM_HEAD)
        for _ in range(400):
            peer.chunk(_PIECE)
            sent.append(len(_PIECE))
        peer.send(b"0\r\n\r\n")

    with scripted_server(script) as server:

        async def story() -> int:
            sink, session = Sink(holds=True), HttpSession(UnixConnector(server.path))
            with closing(await session.post("/v1/test", {}, b"{}")) as answer:
                giving = asyncio.create_task(answer.into(sink))
                await sink.has_come.wait()
                before = -1
                while len(sent) != before:
                    before = len(sent)
                    await asyncio.sleep(0.2)
                assert sum(sent) < 4 << 20
                sink.giver.resume()
                await giving
            return sink.size

        assert play(story()) == 400 * len(_PIECE)


def test_a_sink_that_holds_back_to_the_end_and_after_stops_no_other_answer(play: Play) -> None:
    """The connection carries the next answer then, of which the sink knows nothing."""
    with scripted_server(answers_all(JSON_ANSWER)) as server:

        async def story() -> tuple[int, int]:
            session, sizes = HttpSession(UnixConnector(server.path)), []
            first = Sink(holds=True)
            for sink in (first, Sink()):
                with closing(await session.post("/v1/test", {}, b"{}")) as answer:
                    await answer.into(sink)
                first.giver.pause()
                sizes.append(sink.size)
            await session.close()
            return sizes[0], sizes[1]

        sizes = play(story())

        assert sizes[0] == sizes[1] > 0
        assert server.connections == 1


def test_what_a_sink_raises_is_raised_and_the_rest_is_there_for_another_one(play: Play) -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM_HEAD)
        peer.chunk(b"abc")
        go_on.wait(10)
        peer.chunk(b"def")
        peer.send(b"0\r\n\r\n")

    with scripted_server(script) as server:

        async def story() -> int:
            session, rest = HttpSession(UnixConnector(server.path)), Sink()
            with closing(await session.post("/v1/test", {}, b"{}")) as answer:
                with pytest.raises(ValueError, match="no more"):
                    await answer.into(Sink(error=ValueError("no more")))
                go_on.set()
                await answer.into(rest)
            return rest.size

        assert play(story()) == 3


def test_silence_is_what_the_server_keeps_and_not_what_the_sink_asks_for(play: Play) -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM_HEAD)
        peer.chunk(b"abc")
        go_on.wait(10)
        peer.chunk(b"def")
        peer.wait_gone()

    with scripted_server(script) as server:

        async def story() -> int:
            connector = UnixConnector(server.path)
            connector.options = replace(connector.options, silence_seconds=0.2)
            session, sink = HttpSession(connector), Sink(holds=True)
            with closing(await session.post("/v1/test", {}, b"{}")) as answer:
                giving = asyncio.create_task(answer.into(sink))
                await sink.has_come.wait()
                go_on.set()  # what comes meanwhile is not read
                await asyncio.sleep(0.6)
                assert not giving.done()
                assert sink.size == 3
                sink.giver.resume()
                with pytest.raises(ConnectionError, match="does not answer in time"):
                    await giving
            return sink.size

        assert play(story()) == 6
