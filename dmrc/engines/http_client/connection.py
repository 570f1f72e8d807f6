"""One connection of the HTTP client, which carries one answer after another."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from contextlib import suppress
from typing import cast

from dmrc.engines.http_client.connection_options import ConnectionOptions
from dmrc.engines.http_client.http_answer import HttpAnswer
from dmrc.engines.http_client.idle_connections import IdleConnections
from dmrc.engines.http_client.sending import PIECE_BYTES, Sending


class ClientConnection(asyncio.Protocol):
    """One connection, which carries one answer at a time."""

    def __init__(self, idle: IdleConnections[ClientConnection], options: ConnectionOptions) -> None:
        """Rest among `idle` between two requests."""
        self._idle = idle
        self._options = options
        self._answer: HttpAnswer | None = None
        self._sending: Sending | None = None
        self._is_lent = False
        self._transport: asyncio.Transport

    async def ask(self, head: bytes, body: bytes) -> HttpAnswer:
        """Send a request and return its answer.

        Raises:
            UnansweredError: The connection ended before any byte of it had come.
            ConnectionError: The answer broke off, or is none.
        """
        answer = self._answer = HttpAnswer(self, self._options)
        self._transport.writelines((head, body[:PIECE_BYTES]))
        self._sending = Sending(self._transport, body) if len(body) > PIECE_BYTES else None
        try:
            await answer.started()
        except BaseException:
            self.abort()
            raise
        return answer

    async def start_tls(self, context: ssl.SSLContext, hostname: str) -> None:
        """Go on by TLS, after what came in answer was read."""
        self._answer = None
        try:
            transport = await asyncio.get_running_loop().start_tls(
                self._transport, self, context, server_hostname=hostname
            )
        except BaseException:
            self.abort()
            raise
        self._transport = cast(asyncio.Transport, transport)

    def release(self, answer: HttpAnswer) -> None:
        """Take leave of an answer; a second time changes nothing."""
        if self._answer is not answer:
            return
        self._answer = None
        is_sent = (self._sending is None or self._sending.is_done) and self._transport.get_write_buffer_size() == 0
        if answer.is_complete and answer.may_keep_alive and is_sent and not self._transport.is_closing():
            self._idle.keep(self)
        else:
            self.abort()

    def pause_reading(self) -> None:
        """Read no further."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def go_on_with(self, raw: bytes) -> HttpAnswer:
        """Return an answer of which another process has read `raw`; to be called before the connection is made."""
        answer = self._answer = HttpAnswer(self, self._options)
        answer.feed(raw)
        return answer

    def lend(self) -> int | None:
        """Read no further, and return the descriptor, which another process reads from now on; None: it cannot be.

        TLS is known to this process alone.
        """
        transport = self._transport
        is_sent = (self._sending is None or self._sending.is_done) and transport.get_write_buffer_size() == 0
        if transport.get_extra_info("ssl_object") is not None or transport.is_closing() or not is_sent:
            return None
        transport.pause_reading()
        self._is_lent = True
        return cast(int, transport.get_extra_info("socket").fileno())

    def take_back(self) -> None:
        """Read again, for the other process does not any more."""
        self._is_lent = False
        self.resume_reading()

    def abort(self) -> None:
        """End the connection at once; what was not sent yet is not sent."""
        if self._is_lent and not self._transport.is_closing():
            _shut_down(self._transport.get_extra_info("socket").fileno())
        self._transport.abort()

    # Callbacks of the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        """Send no more of a long body."""
        if self._sending is not None:
            self._sending.pause()

    def resume_writing(self) -> None:
        """Send more of it."""
        if self._sending is not None:
            self._sending.resume()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on; while the connection rests nobody has asked for any."""
        if self._answer is not None:
            self._answer.feed(data)
        else:
            self.abort()

    def eof_received(self) -> None:
        """Pass the end on; the transport then closes itself."""
        self._idle.forget(self)
        if self._answer is not None and not self._answer.is_complete:
            self._answer.feed_end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on an end that came without notice; by TLS, uvloop tells of some ordinary ones so."""
        self._idle.forget(self)
        if self._answer is None or self._answer.is_complete:
            return
        if exc is None:
            self._answer.feed_end()
        else:
            self._answer.break_off(str(exc))


def _shut_down(descriptor: int) -> None:
    """End a connection also for the other process that has it."""
    with socket.socket(fileno=os.dup(descriptor)) as same, suppress(OSError):
        same.shutdown(socket.SHUT_RDWR)
