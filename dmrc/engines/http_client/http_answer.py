"""One answer of the HTTP client, fed by the connection that carries it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import httptools

from dmrc.answer import Replica
from dmrc.engines.http_client.connection_options import ConnectionOptions
from dmrc.streaming import Sink, chunks_of

_BUFFER_BYTES = 256 << 10
_MOST_AT_ONCE_BYTES = 32 << 10
"""A loop may give ten times as much at once; what stands behind a body in one piece of it is not counted."""
_MOST_BESIDE_BODY_BYTES = 64 << 10
"""A head, or fields after a chunked body, may be so long."""
_MOST_LENT_BYTES = 64 << 10
"""What has come by then is sent to another process in one message."""
_LENIENCIES = {"lenient_headers": True, "lenient_optional_cr_before_lf": True, "lenient_spaces_after_chunk_size": True}
"""Old servers write so, and every client reads it: https://llhttp.org/#leniency-flags."""


class Carrier(Protocol):
    """The connection that an answer comes by."""

    def pause_reading(self) -> None:
        """Read no further."""

    def resume_reading(self) -> None:
        """Read again."""

    def lend(self) -> int | None:
        """Read no further, and return the descriptor, which somebody else reads from now on; None: it cannot be."""

    def take_back(self) -> None:
        """Read again, for nobody else does."""

    def release(self, answer: HttpAnswer) -> None:
        """Take leave of an answer; a second time changes nothing."""

    def abort(self) -> None:
        """End at once."""


@dataclass(frozen=True, slots=True)
class Lent:
    """What another process needs to go on with an answer, while this one keeps the connection and does not read."""

    descriptor: int
    """The connection's socket; valid until something else is awaited."""
    raw: bytes
    """What has come so far, from the head on."""
    options: ConnectionOptions
    """How more is waited for."""


class UnansweredError(ConnectionError):
    """A connection ended before any byte of an answer."""


class HttpAnswer:
    """One answer, fed by its connection; see `Answer`."""

    replica: Replica | None = None

    def __init__(self, connection: Carrier, options: ConnectionOptions) -> None:
        """Expect the answer on `connection`."""
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        self.is_complete = False
        self.may_keep_alive = False
        self._saw_bytes = False
        self._has_headers = False
        self._connection = connection
        self._options = options
        self._raw: list[bytes] | None = []  # None once some of the body was given
        self._keeps_after_streams = options.keeps_after_streams
        self._silence_seconds = options.silence_seconds
        self._loop = asyncio.get_running_loop()  # to ask for it each time would be a system call each time
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**_LENIENCIES)
        self._chunks: list[bytes] = []
        self._buffered_bytes = 0
        self._beside_body_bytes = 0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self._is_paused = False
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the body as it comes; see `Answer`."""
        return chunks_of(self.into)

    async def into(self, sink: Sink) -> None:
        """Give the body to a sink, out of the very call by which the event loop tells that it was read."""
        self._raw, self._sink = None, sink
        sink.begin(self)
        try:
            while True:
                if self._chunks:
                    sink.take(self._taken())
                if self.is_complete:
                    return
                await self._news()
        finally:
            self._sink = None
            self.resume()  # the next answer on this connection finds it as it was

    def close(self) -> None:
        """Let go of the connection: kept where the answer is complete, else ended; who still waits hears of it."""
        self._connection.release(self)
        if not self.is_complete:
            self._fail(ConnectionAbortedError("nobody wants the rest of the answer"))

    def pause(self) -> None:
        """Read no more; see `Giver`. A sink that was given all has no more say: the connection may be another's."""
        if self._sink is not None and not self._is_paused:
            self._is_paused = True
            self._connection.pause_reading()

    def resume(self) -> None:
        """Read on; see `Giver`."""
        if self._is_paused:
            self._is_paused = False
            self._heard_at = self._loop.time()
            self._connection.resume_reading()

    def lend(self) -> Lent | None:
        """Have another process go on with it, from its first byte; None: that cannot be, and nothing has changed."""
        if self._raw is None or self.is_complete or self._error is not None:
            return None
        raw = b"".join(self._raw)
        if len(raw) > _MOST_LENT_BYTES or (descriptor := self._connection.lend()) is None:
            return None
        return Lent(descriptor, raw, self._options)

    def take_back(self) -> None:
        """Go on with it here: the other process has not begun with it."""
        self._connection.take_back()

    def was_completed(self, *, may_keep_alive: bool) -> None:
        """Take note that the other process has come to its end."""
        self.is_complete, self.may_keep_alive = True, may_keep_alive
        self._connection.take_back()

    async def started(self) -> None:
        """Wait for status and headers."""
        while not self._has_headers:
            await self._news()

    async def _news(self) -> None:
        """Wait until there is something to do for who waits; raise why the answer broke off where it did."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        if self._silence_seconds is None:
            await self._waiter
            return
        self._heard_at = self._loop.time()
        self._timer = self._loop.call_later(self._silence_seconds, self._listen, self._silence_seconds)
        try:
            await self._waiter
        finally:
            self._timer.cancel()

    def _listen(self, longest: float) -> None:
        """Give up where nothing has come for so long; what was asked to wait does not count."""
        left = longest if self._is_paused else self._heard_at + longest - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._listen, longest)
        else:
            self._give_up("it does not answer in time")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def feed(self, data: bytes) -> None:
        """Take in bytes of the connection."""
        self._saw_bytes = True
        if self._raw is not None:
            self._raw.append(data)
        if self._timer is not None:
            self._heard_at = self._loop.time()
        if len(data) <= _MOST_AT_ONCE_BYTES:
            self._parse(data)
        else:
            for start in range(0, len(data), _MOST_AT_ONCE_BYTES):
                self._parse(data[start : start + _MOST_AT_ONCE_BYTES])
        if self._sink is None or self.is_complete:
            self._wake()
        elif self._chunks:
            self._give(self._sink)

    def _give(self, sink: Sink) -> None:
        try:
            sink.take(self._taken())
        except Exception as error:  # noqa: BLE001 raised to who asked for the giving
            self._sink = None
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(error)

    def _taken(self) -> bytes:
        """Return what has come since the last time."""
        chunk = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        if self._buffered_bytes > _BUFFER_BYTES and not self._is_paused:
            self._connection.resume_reading()
        self._buffered_bytes = 0
        return chunk

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
