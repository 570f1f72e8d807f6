"""Several upstreams of one model: who gets a request, who gets it next, and who gets none for a while."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmrc.answer import Replica
from dmrc.engines.upstream.replica import UpstreamReplica
from dmrc.engines.upstream.replicas import UpstreamReplicas
from dmrc.engines.upstream.server import SeveralUpstreams
from dmrc.engines.upstream.several import SeveralSession
from dmrc.errors import UnsupportedError, UpstreamError
from dmrc.project import Upstream
from tests.engines.scripted_server import JSON_ANSWER, STREAM_HEAD, Peer, ScriptedServer, tcp_server
from tests.engines.stories import Play
from tests.ports import free_port

PATH = "/v1/chat/completions"
Behaviour = Callable[[Peer], None]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@dataclass
class Far:
    """A server that says that it is there, and answers chats as it is told."""

    behaviour: Behaviour
    heads: list[bytes] = field(default_factory=list)
    bodies: list[dict[str, object]] = field(default_factory=list)
    server: ScriptedServer = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/v1"

    def play(self, peer: Peer) -> None:
        while True:
            body = peer.request()
            if peer.head.startswith(b"GET"):
                peer.send(JSON_ANSWER)
                continue
            self.heads.append(peer.head)
            self.bodies.append(json.loads(body))
            if self.behaviour(peer) is not None:
                return


def stream(peer: Peer) -> None:
    peer.send(STREAM_HEAD)
    for word in (b"a", b"b"):
        peer.chunk(word)
    peer.chunk(b"")


def whole(peer: Peer) -> None:
    peer.send(JSON_ANSWER)


def sends(*parts: bytes) -> Behaviour:
    """Send these, and end the connection."""

    def behaviour(peer: Peer) -> None:
        peer.send(*parts)
        raise EOFError

    return behaviour


def silent(peer: Peer) -> None:
    peer.wait_gone()
    raise EOFError


def refuses(status: bytes, headers: bytes = b"") -> Behaviour:
    def behaviour(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 %b\r\nContent-Length: 2\r\n%b\r\n{}" % (status, headers))

    return behaviour


@contextmanager
def far(*behaviours: Behaviour) -> Iterator[list[Far]]:
    with ExitStack() as stack:
        found = [Far(behaviour) for behaviour in behaviours]
        for each in found:
            each.server = stack.enter_context(tcp_server(each.play))
        yield found


@asynccontextmanager
async def sessions(
    *urls: str, models: Sequence[str] = (), keys: Sequence[str | None] = ()
) -> AsyncIterator[tuple[SeveralSession, UpstreamReplicas]]:
    """Reach them all; the first is asked first, and each once where they are asked in turn."""
    names = models or ["m"] * len(urls)
    upstreams = [
        Upstream(url=url, model=name, key=f"KEY_{n}") for n, (url, name) in enumerate(zip(urls, names, strict=True))
    ]
    server = SeveralUpstreams("llm", upstreams, keys or [None] * len(urls), parallel=2)
    session = await server.wait_ready()
    assert isinstance(session, SeveralSession)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while not all(one.state == "ready" for one in server.replicas.now()):
                    await server.replicas.changed()
        yield session, server.replicas
    finally:
        await session.close()


async def ask(session: SeveralSession, **headers: str) -> tuple[int, bytes, Replica]:
    body = json.dumps({"model": session.model, "messages": []}).encode()
    with closing(await session.post(PATH, {"content-type": "application/json", **headers}, body)) as answer:
        return answer.status, b"".join([chunk async for chunk in answer]), answer.replica


BEFORE_A_BYTE = {
    "closes at once": (sends(), "closed the connection without an answer"),
    "closes after its headers": (sends(STREAM_HEAD), "in the middle of an answer"),
    "closes in its headers": (sends(STREAM_HEAD[:40]), "in the middle of an answer"),
    "is loading": (refuses(b"503 Loading"), "answered 503"),
    "is limited": (refuses(b"429 Slow down", b"Retry-After: 7\r\n"), "answered 429"),
    "is limited, until some time": (refuses(b"429 Slow down"), "answered 429"),
    "says no HTTP": (sends(b"hello, is it me\r\n\r\n"), "not HTTP"),
}


@pytest.mark.parametrize(("behaviour", "why"), BEFORE_A_BYTE.values(), ids=BEFORE_A_BYTE)
def test_a_request_of_which_no_byte_came_is_repeated_elsewhere(play: Play, behaviour: Behaviour, why: str) -> None:
    with far(behaviour, stream) as (bad, good):

        async def story() -> None:
            async with sessions(bad.url, good.url) as (session, replicas):
                status, body, replica = await ask(session)

                assert (status, body) == (200, b"ab")
                assert (replica.name, replica.node) == (good.url, "127.0.0.1")
                (in_vain,) = replica.instead_of
                assert bad.url in in_vain
                assert why in in_vain
                assert [one.in_use for one in replicas.now()] == [0, 0]

        play(story())
        assert len(bad.bodies) == len(good.bodies) == 1


def test_an_answer_of_which_a_byte_came_is_not_repeated_and_the_error_names_who_broke_off(play: Play) -> None:
    with far(sends(STREAM_HEAD, b"1\r\na\r\n"), stream) as (bad, good):

        async def story() -> None:
            async with sessions(bad.url, good.url) as (session, replicas):
                with pytest.raises(UpstreamError, match="broke off") as caught:
                    await ask(session)
                assert bad.url in caught.value.message
                assert [one.in_use for one in replicas.now()] == [0, 0]

        play(story())
        assert not good.bodies


def test_where_none_answers_the_error_names_them_all_and_why(play: Play) -> None:
    with far(sends(), sends(STREAM_HEAD)) as (one, other):

        async def story() -> None:
            async with sessions(one.url, other.url) as (session, _):
                with pytest.raises(UpstreamError, match="no upstream of model 'llm' answers") as caught:
                    await ask(session)
                for each, why in ((one, "without an answer"), (other, "in the middle")):
                    assert f"upstream '{each.url}' broke off or cannot be reached: it closed the connection {why}" in (
                        caught.value.message
                    )

        play(story())


def test_none_there_at_the_start_is_an_error_that_names_them_all(play: Play) -> None:
    urls = [f"http://127.0.0.1:{free_port()}/v1" for _ in range(2)]

    async def story() -> None:
        with pytest.raises(UpstreamError, match="no upstream of model 'llm' answers") as caught:
            async with sessions(*urls):
                pass
        assert all(url in caught.value.message for url in urls)

    play(story())


def test_one_that_starts_later_is_no_fault_and_joins(play: Play) -> None:
    with far(whole) as (first,), ExitStack() as stack:
        late = Far(whole)
        port = free_port()
        url = f"http://127.0.0.1:{port}/v1"

        async def story() -> None:
            upstreams = [Upstream(url=each, model="m") for each in (url, first.url)]
            server = SeveralUpstreams("llm", upstreams, [None, None], parallel=2)
            session = await server.wait_ready()
            assert [one.state for one in server.replicas.now()] == ["starting", "ready"]
            assert server.replicas.slots == 2
            late.server = stack.enter_context(tcp_server(late.play, port=port))
            while server.replicas.slots < 4:
                await server.replicas.changed()
            for _ in range(2):
                await ask(session)  # type: ignore[arg-type]
            await session.close()

        play(story())
        assert len(late.bodies) == len(first.bodies) == 1


def test_where_all_refuse_the_last_refusal_is_the_answer(play: Play) -> None:
    with far(refuses(b"503 Busy"), refuses(b"429 Slow down", b"Retry-After: 7\r\n")) as (one, other):

        async def story() -> None:
            async with sessions(one.url, other.url) as (session, replicas):
                body = json.dumps({"model": "m"}).encode()
                with closing(await session.post(PATH, {}, body)) as answer:
                    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
                    assert answer.replica.name == other.url
                    assert [why.rpartition(" ")[2] for why in answer.replica.instead_of] == ["503"]
                assert [one.in_use for one in replicas.now()] == [0, 0]

        play(story())


def test_a_refusal_that_is_the_answer_is_not_told_to_be_in_its_own_place(play: Play) -> None:
    with far(refuses(b"503 Busy"), sends()) as (busy, broken):

        async def story() -> None:
            async with sessions(busy.url, broken.url) as (session, _):
                status, _body, replica = await ask(session)
                assert (status, replica.name) == (503, busy.url)
                (why,) = replica.instead_of
                assert broken.url in why

        play(story())


@pytest.mark.parametrize("as_a_date", [False, True])
def test_one_that_told_how_long_to_wait_gets_nothing_until_then(play: Play, as_a_date: bool) -> None:
    told = formatdate(time.time() + 2, usegmt=True) if as_a_date else "1"
    refuse, came = refuses(b"429 Slow down", f"Retry-After: {told}\r\n".encode()), list[float]()

    def until() -> float:
        return parsedate_to_datetime(told).timestamp() if as_a_date else came[0] + 1

    def limits(peer: Peer) -> None:
        came.append(time.time())
        refuse(peer)

    with far(limits, whole) as (limited, other):

        async def story() -> int:
            async with sessions(limited.url, other.url) as (session, replicas):
                for _ in range(4):
                    await ask(session)
                assert [one.state for one in replicas.now()] == ["starting", "ready"] or time.time() > until()
                count = 4
                while len(came) < 2:
                    while replicas.slots < 4:
                        await replicas.changed()
                    await ask(session)
                    count += 1
                return count

        count = play(story())
        assert (len(limited.bodies), len(other.bodies)) == (2, count)
        assert came[1] > until() - 0.05  # clocks tick


def test_what_ends_three_upstreams_goes_to_no_fourth(play: Play) -> None:
    with far(*[sends()] * 4) as all_of_them:

        async def story() -> None:
            async with sessions(*(each.url for each in all_of_them)) as (session, _):
                with pytest.raises(UpstreamError, match="3 upstreams had the request in vain"):
                    await ask(session)

        play(story())
        assert sum(len(each.bodies) for each in all_of_them) == 3


def test_an_answer_that_has_begun_is_not_gone_on_with_by_an_answer_of_another_kind(play: Play) -> None:
    with far(sends(STREAM_HEAD), whole) as (bad, other):

        async def story() -> None:
            async with sessions(bad.url, other.url) as (session, _):
                with pytest.raises(UpstreamError, match=f"{other.url}', asked in its place, answered 200"):
                    await ask(session)

        play(story())


def test_each_gets_its_own_key_and_its_own_name_of_the_model_and_is_not_believed_who_answers(play: Play) -> None:
    lies = JSON_ANSWER.replace(b"\r\n\r\n", b"\r\nX-Dmrc-Replica: another\r\nX-Dmrc-Node: elsewhere\r\n\r\n")

    def lie(peer: Peer) -> None:
        peer.send(lies)

    with far(sends(), lie, whole) as servers:

        async def story() -> None:
            urls = [each.url for each in servers]
            async with sessions(*urls, models=["one", "two", "three"], keys=["k1", "k2", None]) as (session, _):
                found = [await ask(session) for _ in range(2)]
                assert [replica.name for _, _, replica in found] == urls[1:]

        play(story())
        assert [each.bodies[0]["model"] for each in servers] == ["one", "two", "three"]
        keys = [
            [line for line in each.heads[0].split(b"\r\n") if line.startswith(b"authorization")] for each in servers
        ]
        assert keys == [[b"authorization: Bearer k1"], [b"authorization: Bearer k2"], []]


def test_a_caller_who_goes_away_while_a_second_is_asked_gives_both_slots_back(play: Play) -> None:
    with far(refuses(b"503 Busy"), silent) as (busy, server):

        async def story() -> None:
            async with sessions(busy.url, server.url) as (session, replicas):
                task = asyncio.create_task(ask(session))
                while not server.bodies:
                    await asyncio.sleep(0.01)
                assert [one.in_use for one in replicas.now()] == [1, 1]
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert [one.in_use for one in replicas.now()] == [0, 0]

        play(story())


def test_a_caller_who_goes_away_gives_the_slot_back(play: Play) -> None:
    with far(silent, whole) as (server, other):

        async def story() -> None:
            async with sessions(server.url, other.url) as (session, replicas):
                task = asyncio.create_task(ask(session))
                while not server.bodies:
                    await asyncio.sleep(0.01)
                assert [one.in_use for one in replicas.now()] == [1, 0]
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert [one.in_use for one in replicas.now()] == [0, 0]
                assert [one.state for one in replicas.now()] == ["ready", "ready"]
                with pytest.raises(UnsupportedError, match="is where it runs"):
                    await replicas.log(server.url, 10)

        play(story())


def some(count: int, slots: int = 4) -> list[UpstreamReplica]:
    found = [
        UpstreamReplica(f"http://box-{n}/v1", Upstream(url=f"http://box-{n}/v1", model="m"), None, slots)
        for n in range(count)
    ]
    for each in found:
        each.is_ready = True
    return found


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=6))
def test_it_is_always_one_that_is_ready_and_has_the_fewest(states: list[tuple[bool, int]]) -> None:
    all_of_them = some(len(states))
    for each, (is_ready, in_use) in zip(all_of_them, states, strict=True):
        each.is_ready, each.in_use = is_ready, in_use

    chosen = UpstreamReplicas("llm", all_of_them).choose(None)

    fewest = min((each.in_use for each in all_of_them if each.is_ready), default=None)
    assert fewest == (None if chosen is None else chosen.in_use)
    assert chosen is None or chosen.is_ready


@given(st.integers(2, 6), st.integers(1, 40))
@settings(deadline=None)  # the machine may be busy
def test_who_takes_none_back_spreads_them_evenly(count: int, requests: int) -> None:
    all_of_them = some(count, slots=100)
    replicas = UpstreamReplicas("llm", all_of_them)

    for _ in range(requests):
        chosen = replicas.choose(None)
        assert chosen is not None
        chosen.take()

    found = [each.in_use for each in all_of_them]
    assert max(found) - min(found) <= 1


@given(st.integers(2, 6), st.data(), st.sets(st.text(min_size=1), min_size=1, max_size=20))
def test_a_conversation_stays_where_it_is_when_another_upstream_leaves_and_comes_back(
    count: int, data: st.DataObject, conversations: set[str]
) -> None:
    all_of_them = some(count)
    replicas = UpstreamReplicas("llm", all_of_them)
    before = {each: replicas.choose(each) for each in conversations}
    leaves = data.draw(st.sampled_from(all_of_them))

    leaves.is_ready = False
    without = {each: replicas.choose(each) for each in conversations}
    leaves.is_ready = True

    assert all(without[each] is before[each] for each in conversations if before[each] is not leaves)
    assert leaves not in without.values()
    assert {each: replicas.choose(each) for each in conversations} == before


@given(st.integers(2, 6), st.text(min_size=1))
def test_a_conversation_goes_elsewhere_only_where_its_upstream_has_no_free_slot(count: int, name: str) -> None:
    all_of_them = some(count)
    replicas = UpstreamReplicas("llm", all_of_them)
    home = replicas.choose(name)
    assert home is not None

    home.in_use = home.slots - 1
    assert replicas.choose(name) is home
    home.in_use = home.slots
    assert replicas.choose(name) is not home
    for each in all_of_them:
        each.in_use = each.slots
    assert replicas.choose(name) is home
