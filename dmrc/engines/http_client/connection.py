"""One connection of the HTTP client, and the answer that it carries."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Self, cast

import httptools

from dmrc.answer import Replica
from dmrc.engines.http_client.idle_connections import IdleConnections
from dmrc.engines.http_client.sending import PIECE_BYTES, Sending

_BUFFER_BYTES = 256 << 10
_MOST_AT_ONCE_BYTES = 32 << 10
"""A loop may give ten times as much at once; what stands behind a body in one piece of it is not counted."""
_MOST_BESIDE_BODY_BYTES = 64 << 10
"""A head, or fields after a chunked body, may be so long."""
_LENIENCIES = {"lenient_headers": True, "lenient_optional_cr_before_lf": True, "lenient_spaces_after_chunk_size": True}
"""Old servers write so, and every client reads it: https://llhttp.org/#leniency-flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """How long a server is waited for, and how it keeps its connections."""

    silence_seconds: float | None = None
    """How long nothing may come of an answer that is waited for; None is any time."""
    rest_seconds: float | None = None
    """How long a connection is kept between two requests; None is until the server ends it."""
    keeps_after_streams: bool = True
    """Whether the connection can be used again after an answer whose length was not told before."""


class UnansweredError(ConnectionError):
    """A connection ended before any byte of an answer."""


class HttpAnswer:
    """One answer, fed by its connection; see `Answer`."""

    replica: Replica | None = None

    def __init__(self, connection: ClientConnection, options: ConnectionOptions) -> None:
        """Expect the answer on `connection`."""
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        self.is_complete = False
        self.may_keep_alive = False
        self._saw_bytes = False
        self._has_headers = False
        self._connection = connection
        self._keeps_after_streams = options.keeps_after_streams
        self._silence_seconds = options.silence_seconds
        self._loop = asyncio.get_running_loop()  # to ask for it each time would be a system call each time
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**_LENIENCIES)
        self._chunks: list[bytes] = []
        self._buffered_bytes = 0
        self._beside_body_bytes = 0
        self._error: ConnectionError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> Self:
        """Return itself: a body can be read once."""
        return self

    async def __anext__(self) -> bytes:
        """Return what has come since the last chunk; wait where nothing has."""
        while not self._chunks:
            if self.is_complete:
                raise StopAsyncIteration
            await self._news()
        chunk = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        if self._buffered_bytes > _BUFFER_BYTES:
            self._connection.resume_reading()
        self._buffered_bytes = 0
        return chunk

    def close(self) -> None:
        """Let go of the connection: kept where the answer is complete, and ended otherwise."""
        self._connection.release(self)

    async def started(self) -> None:
        """Wait for status and headers."""
        while not self._has_headers:
            await self._news()

    async def _news(self) -> None:
        """Wait until something happens to the answer; raise why it broke off where it did."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        if self._silence_seconds is None:
            await self._waiter
            return
        timer = self._loop.call_later(self._silence_seconds, self._give_up, "it does not answer in time")
        try:
            await self._waiter
        finally:
            timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def feed(self, data: bytes) -> None:
        """Take in bytes of the connection."""
        self._saw_bytes = True
        if len(data) <= _MOST_AT_ONCE_BYTES:
            self._parse(data)
        else:
            for start in range(0, len(data), _MOST_AT_ONCE_BYTES):
                self._parse(data[start : start + _MOST_AT_ONCE_BYTES])
        self._wake()

    def _parse(self, data: bytes) -> None:
        before = self._buffered_bytes
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._give_up(f"its answer is not HTTP: {error}")
        if self._buffered_bytes > before:
            self._beside_body_bytes = 0
        else:
            self._beside_body_bytes += len(data)
        if self._beside_body_bytes > _MOST_BESIDE_BODY_BYTES:
            self._give_up("it answered with too many headers")

    def feed_end(self) -> None:
        """Take in the end of the connection, which ends the answer where nothing else tells its length."""
        tells_length = "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "")
        if self._has_headers and not tells_length:
            self.is_complete = True
            self._wake()
        else:
            self.break_off()

    def break_off(self, reason: str = "it closed the connection in the middle of an answer") -> None:
        """Take in an end that came without notice; of several reasons the first one counts."""
        if self._saw_bytes:
            self._fail(ConnectionResetError(reason))
        else:
            self._fail(UnansweredError("it closed the connection without an answer"))

    def _give_up(self, reason: str) -> None:
        self._fail(ConnectionAbortedError(reason))
        self._connection.abort()

    def _fail(self, error: ConnectionError) -> None:
        self._error = self._error or error
        self._wake()

    # Callbacks of the parser.

    def on_status(self, reason: bytes) -> None:
        """Note the words beside the status."""
        self.reason = reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header; a trailer, which comes after the body, is left out."""
        if not self._has_headers:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note the status; an interim answer, as `100 Continue`, says nothing yet."""
        if self._has_headers:
            self.may_keep_alive = False  # of a second answer, which nobody asked for
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers.clear()
        else:
            self._has_headers = True

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body until it is taken."""
        if self.is_complete:
            return
        self._chunks.append(body)
        self._buffered_bytes += len(body)
        if self._buffered_bytes > _BUFFER_BYTES:
            self._connection.pause_reading()

    def on_message_complete(self) -> None:
        """Note the end."""
        if self._has_headers and not self.is_complete:
            self.is_complete = True
            is_kept = "content-length" in self.headers or self._keeps_after_streams
            self.may_keep_alive = is_kept and self._parser.should_keep_alive()


class ClientConnection(asyncio.Protocol):
    """One connection, which carries one answer at a time."""

    def __init__(self, idle: IdleConnections[ClientConnection], options: ConnectionOptions) -> None:
        """Rest among `idle` between two requests."""
        self._idle = idle
        self._options = options
        self._answer: HttpAnswer | None = None
        self._sending: Sending | None = None
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

    def abort(self) -> None:
        """End the connection at once; what was not sent yet is not sent."""
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
