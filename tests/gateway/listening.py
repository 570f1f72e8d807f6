"""A listener of the daemon before a small application, and callers that speak to it byte by byte."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from dmrc.gateway.server.connection_shares import ConnectionShares
from dmrc.gateway.server.input_limits import InputLimits
from dmrc.gateway.server.listeners import Listener, bind_tcp
from dmrc.gateway.server.tls_entrance import Tls


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the request: its method and path, and below its body. `/length` says the length before."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    answer = f"{scope['method']} {scope['path']}\n".encode() + body
    headers = [(b"content-length", str(len(answer)).encode())] if scope["path"] == "/length" else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for piece in (answer[:4], answer[4:]):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def listening(
    app: ASGIApp = echo,
    limits: InputLimits | None = None,
    shares: ConnectionShares | None = None,
    tls: Tls | None = None,
) -> Iterator[int]:
    """Yield the port of a listener that serves `app` in a thread."""
    bound = bind_tcp("127.0.0.1", 0)
    loop, ready = uvloop.new_event_loop(), threading.Event()
    listener: list[Listener] = []

    async def begin() -> None:
        listener.append(Listener(app, bound, shares or ConnectionShares(100, 100), limits, tls))
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(begin())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield bound.getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(listener[0].close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def connect(port: int, sent: bytes = b"") -> socket.socket:
    """Open a connection and send bytes."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(sent)
    return connection


def rest(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def ask(port: int, sent: bytes) -> bytes:
    """Send bytes, and return all that comes until the other side closes."""
    with connect(port, sent) as connection:
        return rest(connection)
