"""Callers in a process of their own: as many connections as are asked for, each with one request after another."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import httptools
import uvloop

_ROOT = Path(__file__).parents[2]
_TEXT = re.compile(rb'"content": ?"')
_TOKENS = re.compile(rb'"completion_tokens": ?(\d+)')
_TAIL_BYTES = 4096
_LONGEST_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to ask, and whom."""

    port: int | None = None
    """TCP port on loopback."""
    socket: str | None = None
    """Unix socket, where there is no port."""
    path: str = "/v1/chat/completions"
    """Where to ask."""
    key: str = "none"
    """Bearer."""
    body: Mapping[str, object]
    """The request, the same each time."""
    connections: int = 1
    """How many callers there are at the same time."""
    requests: int = 1
    """How many requests each of them makes."""
    spread_seconds: float = 0
    """In how much time the callers begin, one after another; 0 is all at once."""


@dataclass(kw_only=True)
class Loaded:
    """What came of it."""

    seconds: float = 0.0
    """From the first request to the last answer."""
    chunks: int = 0
    """Server-sent events with text in them."""
    tokens: int = 0
    """What the answers that were no streams say of themselves."""
    first_ms: list[float] = field(default_factory=list)
    """For each request, milliseconds to the first text."""
    total_ms: list[float] = field(default_factory=list)
    """For each request, milliseconds to its last byte."""
    failed: int = 0
    """Answers with another status than 200."""


def run(load: Load) -> Loaded:
    """Run the callers, wait for them, and return what they saw."""
    argv = [sys.executable, "-m", "tests.bench._load", json.dumps(asdict(load))]
    done = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, check=True, timeout=_LONGEST_SECONDS)
    return Loaded(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    """One connection, which is asked one request at a time."""

    def __init__(self, seen: Loaded) -> None:
        self._seen = seen

    async def ask(self, request: bytes, began: float) -> None:
        """Send a request and wait for the last byte of its answer."""
        self._parser = httptools.HttpResponseParser(self)
        self._first: float | None = None
        self._tail = b""
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._done
        now = time.perf_counter()
        # Rounded, so that what thousands of requests took still fits a pipe.
        self._seen.first_ms.append(round(((self._first or now) - began) * 1000, 3))
        self._seen.total_ms.append(round((now - began) * 1000, 3))
        self._seen.failed += self._parser.get_status_code() != 200

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection in an answer"))

    def on_body(self, body: bytes) -> None:
        texts = len(_TEXT.findall(body))
        if texts and self._first is None:
            self._first = time.perf_counter()
        self._seen.chunks += texts
        self._tail = (self._tail + body)[-_TAIL_BYTES:]

    def on_message_complete(self) -> None:
        if found := _TOKENS.search(self._tail):
            self._seen.tokens += int(found[1])
        if not self._done.done():
            self._done.set_result(None)


async def _call(load: Load, seen: Loaded, number: int) -> None:
    """Be one of the callers. On a unix socket each request has its own connection: llama.cpp ends it after a stream."""
    loop = asyncio.get_running_loop()
    body = json.dumps(load.body).encode()
    head = f"POST {load.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {load.key}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection: _Connection | None = None
    await asyncio.sleep(load.spread_seconds * number / load.connections)
    for _ in range(load.requests):
        began = time.perf_counter()
        if load.port is None:
            _, connection = await loop.create_unix_connection(lambda: _Connection(seen), load.socket)
        elif connection is None:
            _, connection = await loop.create_connection(lambda: _Connection(seen), "127.0.0.1", load.port)
        await connection.ask(head.encode() + body, began)
        if load.port is None:
            connection.close()
    if connection is not None:
        connection.close()


async def _play(load: Load) -> Loaded:
    seen = Loaded()
    began = time.perf_counter()
    await asyncio.gather(*(_call(load, seen, number) for number in range(load.connections)))
    seen.seconds = time.perf_counter() - began
    return seen


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(_play(Load(**json.loads(sys.argv[1])))))))
