"""The body of an answer whose length was not told: each piece is framed and written when it comes, not sent by ASGI.

Head and end of the answer go by ASGI as ever, and so the server's own bookkeeping stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from starlette.types import Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from dmrc.background import begin
from dmrc.streaming import Giver

EXTENSION = "dmrc.body"
"""Where a scope has the writer of its body, among its extensions."""


class BodyWriter(Protocol):
    """Writes a body, from after the head was sent by ASGI until its end is; see `Sink`.

    What it takes when the caller has gone is dropped.
    """

    def begin(self, giver: Giver) -> None:
        """Know who gives: it is paused while the caller reads slower than that."""

    def take(self, chunk: bytes) -> None:
        """Write a piece."""

    async def written(self) -> None:
        """Wait until something else can be sent by ASGI."""

    def lend(self) -> int | None:
        """Return the descriptor of the connection, by which a stream process may write the next pieces.

        It frames them as chunks, and until it has let go of the connection nothing is written here. None: the
        connection speaks TLS or HTTP/1.0, or has not sent yet what was written before.
        """


def writer_of(scope: Scope, send: Send) -> BodyWriter:
    """Return what writes the body of the answer to a request, to be asked for once."""
    writer: BodyWriter | None = scope.get("extensions", {}).get(EXTENSION)
    return AsgiBody(send) if writer is None else writer


class BodyFlow(FlowControl):
    """Knows whether the caller reads slowly, and tells the giver of the body."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Begin with nobody who gives."""
        super().__init__(transport)
        self.giver: Giver | None = None
        """Who gives the body of the answer in flight; of one that is complete it may stay here, and does nothing."""

    def pause_writing(self) -> None:
        """Hold the giver back: the caller reads slowly."""
        super().pause_writing()
        if self.giver is not None:
            self.giver.pause()

    def resume_writing(self) -> None:
        """Let the giver go on: the caller has read, or is gone."""
        super().resume_writing()
        if self.giver is not None:
            self.giver.resume()


class ConnectionBody:
    """Writes to a connection of HTTP; see `BodyWriter`."""

    def __init__(self, cycle: RequestResponseCycle, flow: BodyFlow, write: Callable[[bytes], None]) -> None:
        """Write the body of `cycle` by `write`."""
        self._cycle = cycle
        self._flow = flow
        self._write = write

    def begin(self, giver: Giver) -> None:
        """Know who gives."""
        self._flow.giver = giver
        if self._flow.write_paused:
            giver.pause()

    def take(self, chunk: bytes) -> None:
        """Write a piece, as a chunk of HTTP/1.1 where it is one."""
        cycle = self._cycle
        if cycle.disconnected:
            return
        if cycle.chunked_encoding:
            self._write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        else:
            cycle.expected_content_length -= len(chunk)
            self._write(chunk)

    async def written(self) -> None:
        """Return: ASGI's own `send` waits for the caller."""

    def lend(self) -> int | None:
        """Return the descriptor of the connection, where it can be lent."""
        cycle, transport = self._cycle, self._cycle.transport
        is_plain = cycle.scope["scheme"] == "http" and cycle.chunked_encoding
        if cycle.disconnected or not is_plain or transport.is_closing() or transport.get_write_buffer_size():
            return None
        return cast(int, transport.get_extra_info("socket").fileno())


class AsgiBody:
    """Writes by ASGI, to a server that is not ours; see `BodyWriter`."""

    def __init__(self, send: Send) -> None:
        """Write by `send`."""
        self._send = send
        self._giver: Giver | None = None
        self._chunks: list[bytes] = []
        self._sending: asyncio.Task[None] | None = None

    def begin(self, giver: Giver) -> None:
        """Know who gives."""
        self._giver = giver

    def take(self, chunk: bytes) -> None:
        """Send a piece after those before it."""
        self._chunks.append(chunk)
        if self._giver is not None:
            self._giver.pause()
        if self._sending is None:
            self._sending = begin(self._send_all(), "the body of an answer")

    async def written(self) -> None:
        """Wait until all is sent."""
        if self._sending is not None:
            await self._sending

    def lend(self) -> None:
        """Return None: whose connection it is, only its server knows."""

    async def _send_all(self) -> None:
        while self._chunks:
            body = b"".join(self._chunks)
            self._chunks.clear()
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
        self._sending = None
        if self._giver is not None:
            self._giver.resume()
