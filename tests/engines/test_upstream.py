"""The client of an upstream: its words for what goes wrong, and answers that it did not ask for so."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import zlib
from contextlib import closing

import pytest

from dmrc.decompression import zstd
from dmrc.engines.upstream.session import UpstreamSession
from dmrc.errors import UpstreamError
from dmrc.project import Upstream
from dmrc.streaming import Giver
from tests.engines.certificates import Authority
from tests.engines.scripted_server import STREAM_HEAD, Peer, answers, answers_all, tcp_server
from tests.engines.stories import Play
from tests.ports import free_port
from tests.sources.forward_proxy import forward_proxy

TEXT = b'{"choices":[{"message":{"content":"' + b"hello " * 60_000 + b'"}}]}'
PATH = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def to(url: str, key: str | None = None) -> UpstreamSession:
    return UpstreamSession(Upstream(url=url, model="vendor/Big-1", key="THE_KEY"), key)


async def ask(session: UpstreamSession) -> tuple[int, bytes]:
    body = json.dumps({"model": session.model}).encode()
    with closing(await session.post(PATH, {"content-type": "application/json"}, body)) as answer:
        return answer.status, b"".join([chunk async for chunk in answer])


def _encoded(name: str, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (name.encode(), len(body), body)


ENCODINGS = {
    "gzip": gzip.compress(TEXT), "x-gzip": gzip.compress(TEXT), "deflate": zlib.compress(TEXT), "identity": TEXT,
    "zstd": zstd.compress(TEXT), "GZIP": gzip.compress(TEXT[:-1]) + gzip.compress(TEXT[-1:]),
}  # fmt: skip


@pytest.mark.parametrize(("name", "body"), ENCODINGS.items(), ids=ENCODINGS)
def test_an_answer_that_is_compressed_all_the_same_is_read(play: Play, name: str, body: bytes) -> None:
    with tcp_server(answers(_encoded(name, body))) as server:
        assert play(ask(to(f"http://127.0.0.1:{server.port}/v1"))) == (200, TEXT)


def test_a_compressed_stream_is_told_as_it_comes(play: Play) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))
        packer = zlib.compressobj(wbits=31)
        peer.chunk(packer.compress(b"data: 1\n\n") + packer.flush(zlib.Z_SYNC_FLUSH))
        peer.wait_gone()

    with tcp_server(script) as server:

        async def story() -> bytes:
            with closing(await to(f"http://127.0.0.1:{server.port}").post(PATH, {}, b"{}")) as answer:
                return await anext(aiter(answer))

        assert play(story()) == b"data: 1\n\n"


class Never:
    """A caller who takes a piece and then no more; see `Sink`."""

    def begin(self, giver: Giver) -> None:
        self._giver = giver

    def take(self, chunk: bytes) -> None:
        self._giver.pause()


def test_of_a_compressed_stream_that_is_let_go_of_nothing_is_left(play: Play) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))
        packer = zlib.compressobj(wbits=31)
        peer.chunk(packer.compress(b"data: 1\n\n") + packer.flush(zlib.Z_SYNC_FLUSH))
        peer.wait_gone()

    with tcp_server(script) as server:

        async def story() -> set[asyncio.Task[object]]:
            before = asyncio.all_tasks()
            answer = await to(f"http://127.0.0.1:{server.port}").post(PATH, {}, b"{}")
            caller = asyncio.create_task(answer.into(Never()))
            while len(asyncio.all_tasks() - before) < 2:
                await asyncio.sleep(0.01)
            caller.cancel()
            await asyncio.wait({caller})
            answer.close()
            left = asyncio.all_tasks() - before
            await asyncio.wait(left, timeout=20)
            return asyncio.all_tasks() - before

        gc.disable()  # a collection would end what waits for nothing
        try:
            assert play(story()) == set()
        finally:
            gc.enable()


BROKEN = {
    "in br": (_encoded("br", b"abc"), "in 'br', and was asked not to"),
    "no gzip": (_encoded("gzip", b"abc"), "incorrect header check"),
    "half of a gzip": (_encoded("gzip", gzip.compress(TEXT)[:-20]), "ends in the middle"),
    "half of a stream": (STREAM_HEAD + b"3\r\nabc\r\n", "closed the connection in the middle"),
    "nothing": (b"", "closed the connection without an answer"),
}


@pytest.mark.parametrize(("answer", "reason"), BROKEN.values(), ids=BROKEN)
def test_an_answer_that_cannot_be_read_is_an_error_that_says_why(play: Play, answer: bytes, reason: str) -> None:
    with tcp_server(answers(answer)) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        with pytest.raises(UpstreamError, match="broke off or cannot be reached") as caught:
            play(ask(to(url)))

        assert server.connections == 1
    assert reason in caught.value.message
    assert f"'{url}'" in caught.value.message


def test_an_error_without_a_body_says_it_is_compressed_and_is_empty(play: Play) -> None:
    with tcp_server(answers(b"HTTP/1.1 503 No\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n")) as server:
        assert play(ask(to(f"http://127.0.0.1:{server.port}/v1"))) == (503, b"")


def test_the_head_says_who_asks_and_what_is_wanted(play: Play) -> None:
    heads: list[bytes] = []

    def script(peer: Peer) -> None:
        while True:
            body = peer.request()
            heads.append(peer.head)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with tcp_server(script) as server:

        async def story() -> bytes:
            session = to(f"http://127.0.0.1:{server.port}/v1", "sk-\u2026")
            await session.check()
            (await session.post(PATH, {"user-agent": "caller"}, b"{}")).close()
            _, body = await ask(session)
            await session.close()
            return body

        body = play(story())

    looked, of_a_caller, own = (set(head.split(b"\r\n")) for head in heads)
    assert json.loads(body) == {"model": "vendor/Big-1"}
    assert {b"GET /v1/models HTTP/1.1", b"connection: close"} < looked
    assert {b"POST /v1/chat/completions HTTP/1.1", b"accept-encoding: identity"} < own
    assert "authorization: Bearer sk-\u2026".encode() in looked & of_a_caller & own
    assert b"user-agent: caller" in of_a_caller
    assert any(line.startswith(b"user-agent: dmrc/") for line in own)


def test_the_first_request_has_a_connection_of_its_own(play: Play) -> None:
    """A server may take it for kept, though it was asked to close it, and end it while the request is on its way."""
    with tcp_server(answers_all()) as server:

        async def story() -> None:
            session = to(f"http://127.0.0.1:{server.port}/v1")
            await session.check()
            assert (await ask(session))[0] == 200
            await session.close()

        play(story())

        assert server.connections == 2


@pytest.mark.parametrize("path", ["check", "ask"])
def test_what_cannot_be_reached_is_told_in_one_line(play: Play, authority: Authority, path: str) -> None:
    async def asked(url: str) -> None:
        session = to(url)
        await (session.check() if path == "check" else ask(session))

    with (
        tcp_server(answers_all(), context=authority.server_context()) as server,
        pytest.raises(UpstreamError, match=r"cannot be reached: its certificate is not valid \(.*issuer"),
    ):
        play(asked(f"https://localhost:{server.port}/v1"))
    with pytest.raises(UpstreamError, match="broke off or cannot be reached: Connection refused"):
        play(asked(f"http://127.0.0.1:{free_port()}/v1"))


def test_what_a_proxy_says_is_told_with_its_address(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    with forward_proxy({}) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://{proxy.address}")
        for url in ("http://far.test/v1", "https://far.test/v1"):
            for asked in (ask, UpstreamSession.check):
                with pytest.raises(UpstreamError, match=f"through proxy '{proxy.address}'") as caught:
                    play(asked(to(url)))
                assert "It wants a user and password (407): set ALL_PROXY=" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("url", "key", "reason"),
    [("http://a.test:99999/v1", None, "is not a URL"), ("http://a..test/v1", None, "is not a URL"),
     ("http://a.test/v1", "sk-1\n", "the key in THE_KEY has a line break")],
)  # fmt: skip
def test_what_cannot_be_asked_at_all_is_refused(url: str, key: str | None, reason: str) -> None:
    with pytest.raises(UpstreamError, match=reason) as caught:
        to(url, key)

    assert "sk-1" not in str(caught.value)
