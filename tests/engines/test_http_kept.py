"""Which connections to a runner are used again, and when a request is sent a second time."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dmrc.engines.http_client.connectors import UnixConnector, UnreachableError
from dmrc.engines.http_client.session import HttpSession
from tests.engines.scripted_server import JSON_ANSWER, STREAM_HEAD, Peer, Script, answers, answers_all, scripted_server
from tests.engines.stories import Play, ask, ask_once
from tests.polling import eventually


def test_requests_one_after_another_share_a_connection(play: Play) -> None:
    with scripted_server(answers_all()) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            for _ in range(5):
                assert await ask(session) == (200, b'{"fine":true}')
            await session.close()

        play(story())

        assert server.connections == 1


def test_a_stream_ends_its_connection_as_llama_cpp_does_without_a_word(play: Play) -> None:
    with scripted_server(answers(STREAM_HEAD, b"5\r\nhello\r\n", b"0\r\n\r\n")) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            for _ in range(3):
                assert await ask(session) == (200, b"hello")
            await session.close()

        play(story())

        assert server.connections == 3


def test_a_connection_that_the_server_closed_while_it_rested_is_not_used_again(play: Play) -> None:
    with scripted_server(answers(JSON_ANSWER)) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            for count in range(1, 4):
                assert (await ask(session))[0] == 200
                await asyncio.to_thread(eventually, lambda count=count: server.ended == count)
            await session.close()

        play(story())

        assert server.connections == 3


def test_a_server_that_went_away_with_a_request_is_told_from_one_that_never_had_it(play: Play) -> None:
    """What ended it may end the next one, too: it is not to go on for ever."""

    def goes_at_the_second(peer: Peer) -> None:
        peer.request()
        peer.send(JSON_ANSWER)
        peer.request()
        server.path.rename(server.path.with_name("gone"))

    with scripted_server(goes_at_the_second) as server:
        path = server.path

        async def story() -> list[bool]:
            session, found = HttpSession(UnixConnector(path)), list[bool]()
            assert (await ask(session))[0] == 200
            for _ in range(2):
                with pytest.raises(UnreachableError) as caught:
                    await ask(session)
                found.append(caught.value.was_sent)
            return found

        assert play(story()) == [True, False]
        path.with_name("gone").rename(path)


def _closes_at_the_second_request(peer: Peer) -> None:
    peer.request()
    peer.send(JSON_ANSWER)
    peer.request()


def _begins_the_second_answer(peer: Peer) -> None:
    peer.request()
    peer.send(JSON_ANSWER)
    peer.request()
    peer.send(b"H")


def _reads_nothing_more(peer: Peer) -> None:
    """Close with a request unread, which resets the connection."""
    peer.request()
    peer.send(JSON_ANSWER)
    peer.connection.recv(1)


@pytest.mark.parametrize("script", [_closes_at_the_second_request, _reads_nothing_more])
def test_a_kept_connection_that_ends_before_any_byte_is_made_good_on_a_new_one(play: Play, script: Script) -> None:
    with scripted_server(script, answers_all()) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            assert (await ask(session))[0] == 200
            assert await ask(session) == (200, b'{"fine":true}')
            await session.close()

        play(story())

        assert server.connections == 2


def test_a_request_is_sent_again_once_at_most(play: Play) -> None:
    with scripted_server(_closes_at_the_second_request, answers()) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            assert (await ask(session))[0] == 200
            with pytest.raises(ConnectionError, match="without an answer"):
                await ask(session)

        play(story())

        assert server.connections == 2


def test_a_request_is_not_sent_again_when_a_byte_of_an_answer_had_come(play: Play) -> None:
    with scripted_server(_begins_the_second_answer, answers_all()) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            assert (await ask(session))[0] == 200
            with pytest.raises(ConnectionError, match="in the middle of an answer"):
                await ask(session)

        play(story())

        assert server.connections == 1


def test_a_new_connection_that_ends_without_an_answer_is_an_error_at_once(play: Play) -> None:
    with scripted_server(answers()) as server:
        with pytest.raises(ConnectionError, match="without an answer"):
            play(ask_once(server))

        assert server.connections == 1


def test_an_answer_that_says_close_is_the_last_on_its_connection(play: Play) -> None:
    closing_answer = JSON_ANSWER.replace(b"Content-Length", b"Connection: close\r\nContent-Length")
    with scripted_server(answers_all(closing_answer)) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            for _ in range(3):
                assert (await ask(session))[0] == 200
            await session.close()

        play(story())

        assert server.connections == 3


def test_bytes_that_nobody_asked_for_end_a_resting_connection(play: Play) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(JSON_ANSWER)
        said.wait(10)
        peer.send(JSON_ANSWER)
        peer.wait_gone()

    said = threading.Event()
    with scripted_server(script, answers_all()) as server:

        async def story() -> None:
            session = HttpSession(UnixConnector(server.path))
            assert (await ask(session))[0] == 200
            said.set()
            await asyncio.to_thread(eventually, lambda: server.ended == 1)
            assert (await ask(session))[0] == 200
            await session.close()

        play(story())

        assert server.connections == 2
