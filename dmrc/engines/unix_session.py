"""The HTTP client of a runner on a unix socket: kept-alive connections, one request at a time on each.

Small on purpose: per streamed chunk it costs a third of what a general client does, and the gateway lives by that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self, cast

import httptools

_CONNECT_SECONDS = 10.0
_CONNECT_PAUSE_SECONDS = 0.005
_BUFFER_BYTES = 256 << 10


class UnixSession:
    """The client of one runner; see `Session`."""

    def __init__(self, socket: Path) -> None:
        """Connect to `socket`, at the first request."""
        self._socket = str(socket)
        self._idle: list[_Connection] = []
        self._is_closed = False

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> UnixAnswer:
        """Send a request and return its answer; see `Session`.

        llama.cpp's server closes connections that rest for some seconds. Where it does so while a request is on its
        way, the request is sent again on a new connection: once, and not if any byte of an answer has come.
        Source: RFC 9112, section 9.3.1.
        """
        return await self._ask(_head("POST", path, headers, len(body)), body)

    async def get(self, path: str) -> UnixAnswer:
        """Ask the child for something about itself; the caller must `close` the answer.

        Raises:
            ConnectionError: It cannot be reached, or goes away before it has answered.
        """
        return await self._ask(_head("GET", path, {}, 0), b"")

    async def _ask(self, head: bytes, body: bytes) -> UnixAnswer:
        if self._idle and (answer := await self._idle.pop().ask(head, body)) is not None:
            return answer
        connection = await self._connect()
        if (answer := await connection.ask(head, body)) is None:
            raise ConnectionResetError("it closed the connection without an answer")
        return answer

    async def close(self) -> None:
        """End the connections that rest; those in use end with their answers."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().abort()

    def keep(self, connection: _Connection) -> None:
        """Take back a connection on which an answer was complete."""
        if self._is_closed:
            connection.abort()
        else:
            self._idle.append(connection)

    def forget(self, connection: _Connection) -> None:
        """Take note that a connection has ended, which may have been resting."""
        if connection in self._idle:
            self._idle.remove(connection)

    async def _connect(self) -> _Connection:
        """Open a connection. The engine's backlog is 5, and when it is full the system says to try again."""
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + _CONNECT_SECONDS
        while True:
            try:
                _, connection = await loop.create_unix_connection(lambda: _Connection(self), self._socket)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise ConnectionError(f"it takes no connection for {_CONNECT_SECONDS:.0f} s") from error
                await asyncio.sleep(_CONNECT_PAUSE_SECONDS)
            except OSError as error:
                raise ConnectionError(f"it cannot be reached: {error.strerror or error}") from error
            else:
                return connection


class UnixAnswer:
    """One answer, fed by its connection; see `Answer`."""

    def __init__(self, connection: _Connection) -> None:
        """Expect the answer on `connection`."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.saw_bytes = False
        self.is_complete = False
        self.may_keep_alive = False
        self._has_headers = False
        self._connection = connection
        self._loop = asyncio.get_running_loop()  # to ask for it each time would be a system call each time
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._buffered_bytes = 0
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
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def feed(self, data: bytes) -> None:
        """Take in bytes of the connection."""
        self.saw_bytes = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.fail(f"it answered with what is no HTTP: {error}")
            self._connection.abort()

    def feed_end(self) -> None:
        """Take in the end of the connection, which ends the answer where nothing else tells its length."""
        if self._has_headers and not {"content-length", "transfer-encoding"} & self.headers.keys():
            self.is_complete = True
            self._wake()
        else:
            self.fail("it closed the connection in the middle of an answer")

    def fail(self, reason: str) -> None:
        """Break off; of several reasons the first one counts."""
        self._error = self._error or ConnectionResetError(reason)
        self._wake()

    # Callbacks of the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header; a trailer, which comes after the body, is left out."""
        if not self._has_headers:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note the status; an interim answer, as `100 Continue`, says nothing yet."""
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers.clear()
        else:
            self._has_headers = True
            self._wake()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body until it is taken."""
        self._chunks.append(body)
        self._buffered_bytes += len(body)
        if self._buffered_bytes > _BUFFER_BYTES:
            self._connection.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        """Note the end. llama.cpp's server ends the connection after a stream without a word before."""
        if self._has_headers:
            self.is_complete = True
            self.may_keep_alive = self._parser.should_keep_alive() and "content-length" in self.headers
            self._wake()


class _Connection(asyncio.Protocol):
    """One connection, which carries one answer at a time."""

    def __init__(self, session: UnixSession) -> None:
        self._session = session
        self._answer: UnixAnswer | None = None

    async def ask(self, head: bytes, body: bytes) -> UnixAnswer | None:
        """Send a request and return its answer; None when the connection ends before any byte of it has come."""
        answer = self._answer = UnixAnswer(self)
        self._transport.writelines((head, body))
        try:
            await answer.started()
        except BaseException as error:
            self.abort()
            if isinstance(error, ConnectionError) and not answer.saw_bytes:
                return None
            raise
        return answer

    def release(self, answer: UnixAnswer) -> None:
        """Take leave of an answer; a second time changes nothing."""
        if self._answer is not answer:
            return
        self._answer = None
        is_sent = self._transport.get_write_buffer_size() == 0
        if answer.is_complete and answer.may_keep_alive and is_sent and not self._transport.is_closing():
            self._session.keep(self)
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

    def data_received(self, data: bytes) -> None:
        """Pass bytes on; while the connection rests nobody has asked for any."""
        if self._answer is not None:
            self._answer.feed(data)
        else:
            self.abort()

    def eof_received(self) -> None:
        """Pass the end on; the transport then closes itself."""
        self._session.forget(self)
        if self._answer is not None and not self._answer.is_complete:
            self._answer.feed_end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on an end that came without notice."""
        self._session.forget(self)
        if self._answer is not None and not self._answer.is_complete:
            self._answer.fail(str(exc or "it closed the connection in the middle of an answer"))


def _head(method: str, path: str, headers: Mapping[str, str], length: int) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: runner", f"content-length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join((*lines, "", ""))
    if head.count("\r") != len(lines) + 1 or head.count("\n") != len(lines) + 1:
        raise ValueError("a header has a line break in it")  # it came from a plugin: the server lets none in
    return head.encode("latin-1")
