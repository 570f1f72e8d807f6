"""Requests that no replica answers: made again elsewhere, and not without end."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
from dmrc_ray import control
from dmrc_ray.forwarding import NothingSentError, Request, forward
from dmrc_ray.replica_info import ReplicaInfo
from dmrc_ray.replicas import KnownReplica, Replicas
from dmrc_ray.router_client import RouterClient

REQUEST = Request("POST", "/v1/chat/completions", b"POST /v1/chat/completions HTTP/1.1\r\n", b"{}", "")
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Lease:
    """What Serve answers to `lease`, for one replica."""

    def __init__(self, info: ReplicaInfo) -> None:
        self._info = info

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        yield asdict(self._info)

    def cancel(self) -> None:
        pass


class Caller:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.got = b""

    def write(self, data: bytes) -> None:
        self.got += data

    async def drain(self) -> None:
        pass


async def replica(name: str, had: list[str]) -> tuple[asyncio.Server, ReplicaInfo]:
    """Begin a server that any request ends."""

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        had.append(name)
        writer.close()
        server.close()

    server = await asyncio.start_server(end, "127.0.0.1", 0)
    return server, ReplicaInfo(
        name=name, node="box", state="ready", host="127.0.0.1", port=server.sockets[0].getsockname()[1]
    )


async def replica_that_says(name: str, words: bytes) -> tuple[asyncio.Server, ReplicaInfo]:
    """Begin a server that says these words to each request and then, where they are not `WHOLE`, nothing any more."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(words)
        if words is WHOLE:
            writer.close()

    async def no_log(_lines: int) -> str:
        raise AssertionError

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    connections = await control.Leases().serve("127.0.0.1", "key", no_log)
    return server, ReplicaInfo(
        name=name,
        node="box",
        state="ready",
        host="127.0.0.1",
        port=server.sockets[0].getsockname()[1],
        control_port=connections.sockets[0].getsockname()[1],
        key="key",
    )


def client_of(replicas: list[ReplicaInfo]) -> RouterClient:
    """Return a client whose Serve gives the replicas in turn."""
    client = RouterClient("app", "bridge", Replicas("bridge", print))
    turns = itertools.cycle(replicas)
    lease: Callable[[str, str], Lease] = lambda _bridge, _lease: Lease(next(turns))  # noqa: E731
    client._handle = SimpleNamespace(lease=SimpleNamespace(remote=lease))
    return client


def test_a_request_that_ends_each_replica_is_given_to_three_of_them() -> None:
    had: list[str] = []
    caller = Caller()

    async def main() -> None:
        begun = [await replica(f"llm-{number}", had) for number in range(5)]
        async with AsyncExitStack() as servers:
            for server, _ in begun:
                await servers.enter_async_context(server)
            await client_of([info for _, info in begun]).serve(REQUEST, caller)  # type: ignore[arg-type]

    asyncio.run(main())

    assert had == ["llm-0", "llm-1", "llm-2"]
    head, _, body = caller.got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502 ")
    assert json.loads(body)["error"]["message"].startswith("3 replicas had the request in vain, and it may be what ")


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nOnce\r\n"])
def test_a_replica_that_falls_silent_keeps_no_request_waiting(first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "SILENCE_SECONDS", 1.5)
    monkeypatch.setattr(control, "_BEAT_SECONDS", 60)  # it says one thing, and then nothing
    caller = Caller()

    async def main() -> None:
        begun = [await replica_that_says("llm-0", first), await replica_that_says("llm-1", WHOLE)]
        client = client_of([info for _, info in begun])
        async with AsyncExitStack() as servers, asyncio.timeout(30):
            for server, _ in begun:
                await servers.enter_async_context(server)
            await client.serve(REQUEST, caller)  # type: ignore[arg-type]

    asyncio.run(main())

    if first:
        assert caller.got.endswith(b"4\r\nOnce\r\n")
        assert b"x-dmrc-replica: llm-0" in caller.got
    else:
        assert caller.got.endswith(b"{}")
        assert b"x-dmrc-replica: llm-1" in caller.got
        assert b"x-dmrc-instead-of: llm-0 on box: it fell silent\r\n" in caller.got


def test_one_that_fell_silent_while_a_request_was_on_its_way_does_not_get_it() -> None:
    """Who ends the requests of a silent replica has done that by then."""
    had: list[str] = []

    async def main() -> None:
        server, info = await replica("llm-0", had)
        async with server:
            with pytest.raises(NothingSentError, match="it fell silent") as caught:
                await forward(REQUEST, KnownReplica(info, is_silent=True), Caller())  # type: ignore[arg-type]
        assert not caught.value.was_sent

    asyncio.run(main())

    assert had == []
