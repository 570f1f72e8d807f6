"""One HTTP connection: uvicorn's, with bounds on what comes before a request is admitted.

Uvicorn's own has none: neither for the size of a request's head, nor for the time that a caller takes to send it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import httptools
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from dmrc.dialects.table import dialect_at
from dmrc.errors import BusyError, DmrcError, HttpInputError, InputError
from dmrc.exchange import new_exchange_id
from dmrc.gateway.server.body_writer import BodyFlow
from dmrc.gateway.server.connection_shares import ConnectionShares
from dmrc.gateway.server.error_responses import error_response
from dmrc.gateway.server.http_1_0 import until_the_connection_ends
from dmrc.gateway.server.input_limits import InputLimits
from dmrc.gateway.server.response_cycle import ResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

_LINGER_SECONDS = 5.0
"""What a refused caller still sends is thrown away for so long, or the end of the connection costs him the answer."""
_MOST_IN_ADVANCE = 16
"""Requests that may be sent before the answers to the ones before."""
_FRAMING = (b"content-length", b"transfer-encoding", b"connection")


class HttpConnection(HttpToolsProtocol):
    """Serves one connection; see `InputLimits`. An offer to speak another protocol is ignored, as RFC 9110 7.8 allows.

    Java's `HttpClient` offers HTTP/2 with each first request, and httptools takes whatever follows such an offer for
    the other protocol: https://github.com/MagicStack/httptools/issues/124.
    """

    def __init__(self, limits: InputLimits, shares: ConnectionShares, **uvicorns: Any) -> None:
        """Serve by `limits`, counted by `shares`; `uvicorns` are the arguments that uvicorn gives."""
        super().__init__(**uvicorns)
        self._limits = limits
        self._shares = shares
        self._address: str | None = None
        self._running: ResponseCycle | None = None
        self.cycle: ResponseCycle
        self._is_in_head = True
        self._has_begun = False
        self._heads_in_this_read = self._head_bytes = self._fields = 0
        self._body_bytes_in_this_read = self._around_body_bytes = 0
        self._offers_upgrade = self._repeats_head = False
        self._body_bytes = 0
        self._parts: list[bytes] = []
        self._since: float | None = None  # set by `look`, so that no request asks for the time
        self._bytes_then = 0
        self._lingers = False

    # Callbacks of the event loop.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, where there is room for one more."""
        super().connection_made(transport)
        self.flow = BodyFlow(transport)
        address = self.client[0] if self.client else ""
        if self._shares.join(self, address):
            self._address = address
        else:
            self._refuse(BusyError("too many connections are open", retry_after_seconds=5))
            self.transport.close()  # at once: it is counted nowhere

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request in flight: uvicorn tells the one that was read last, which may wait behind it."""
        if self._address is not None:
            self._shares.leave(self, self._address)
            self._address = None
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnect()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._lingers:
            return
        self._unset_keepalive_if_required()
        was_at_rest = self._is_at_rest()
        self._heads_in_this_read = self._body_bytes_in_this_read = 0
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            known = error.__context__
            unknown = InputError(f"this is not an HTTP/1.1 request: {error}")
            self._refuse(known if isinstance(known, DmrcError) else unknown)
            return
        if self._is_in_head:
            # Where other requests came in the same read, how much of it is this head is not known: one read at most.
            if self._heads_in_this_read == 0 or (self._heads_in_this_read == 1 and was_at_rest):
                self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes:
                self._refuse(self._head_too_large())
        else:
            self._around_body_bytes += len(data) - self._body_bytes_in_this_read
            # Around each part of a chunked body stand five bytes at least, and a part may be one byte.
            if self._around_body_bytes > 2 * self._limits.head_bytes + 8 * self._body_bytes:
                self._refuse(HttpInputError("too much stands around the parts of the chunked body", status=431))

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                self._pass_body_on()
                return
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self._repeats_head = True
                self.parser.feed_data(self._framing())

    def _framing(self) -> bytes:
        """Return the head of the request without the offer, as far as it tells where the body ends."""
        lines = [b"POST / HTTP/%s" % self.scope["http_version"].encode()]
        for name, value in self.headers:
            if name in _FRAMING:
                lines.append(name + b": " + (value if name != b"connection" else _without_upgrade(value)))
        return b"\r\n".join((*lines, b"", b""))

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        """Begin with a head."""
        if self._repeats_head:
            return
        self._is_in_head = self._has_begun = True
        self._heads_in_this_read += 1
        self._offers_upgrade = False
        self._head_bytes = self._fields = self._around_body_bytes = self._body_bytes = self._bytes_then = 0
        self._since = None
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take in a part of the URL."""
        if self._repeats_head:
            return
        super().on_url(url)
        if len(self.url) > self._limits.url_bytes:
            raise HttpInputError(f"the URL is longer than {self._limits.url_bytes >> 10} KiB", status=414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header; a field after a chunked body is counted and left out, for the request is admitted then."""
        if self._repeats_head:
            return
        self._fields += 1
        if self._fields > self._limits.headers:
            raise HttpInputError(f"the request has more than {self._limits.headers} headers", status=431)
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the request."""
        if self._repeats_head:
            self._repeats_head = False
            return
        if sum(map(len, (self.url, *(part for header in self.headers for part in header)))) > self._limits.head_bytes:
            raise self._head_too_large()
        if len(self.pipeline) >= _MOST_IN_ADVANCE:
            raise HttpInputError(f"more than {_MOST_IN_ADVANCE} requests were sent in advance", status=400)
        self._is_in_head = self._has_begun = False
        self._since = None
        self._offers_upgrade = self.parser.should_upgrade()
        self._begin_request()

    def _begin_request(self) -> None:
        """Serve a request whose head is read; those before it are answered first."""
        parser, scope, url = self.parser, self.scope, httptools.parse_url(self.url)
        path, version = url.path.decode("ascii"), parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"], scope["raw_path"] = unquote(path), url.path
        scope["query_string"] = url.query or b""
        before = self.cycle
        self.cycle = ResponseCycle(self, keep_alive=version != "1.0" and parser.should_keep_alive())
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """Take in a part of the body; uvicorn copies all it holds for each one, so it gets those of a read as one."""
        self._body_bytes += len(body)
        self._body_bytes_in_this_read += len(body)
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """End the body; where an upgrade was offered it has not begun yet."""
        if self._offers_upgrade:
            self._offers_upgrade = False
            return
        self._pass_body_on()
        if self._address is not None and not self.cycle.response_complete:
            self._shares.works(self, self._address)
        super().on_message_complete()

    def _pass_body_on(self) -> None:
        if self._parts:
            body = b"".join(self._parts)
            self._parts.clear()
            super().on_body(body)

    # What uvicorn does with a request.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cast(ResponseCycle, cycle)
        if cycle.scope["http_version"] == "1.0":
            app = cast("ASGI3Application", until_the_connection_ends(cast(ASGIApp, app), cycle))
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        if self._address is not None and not self.pipeline:
            self._shares.rests(self, self._address)
        super().on_response_complete()

    # What the listener asks for.

    def look(self, now: float) -> None:
        """See once a second whether the caller goes on sending; `now` is the event loop's time."""
        if self._since is None:
            self._since, self._bytes_then = now, self._body_bytes
        waited = now - self._since
        if self._lingers:
            if waited > _LINGER_SECONDS:
                self.transport.abort()
        elif self._is_in_head:
            if waited > self._limits.head_seconds:
                self._end_slow_head()
        elif self._is_at_rest() and self.cycle.response_complete:
            # Uvicorn's own deadline ends with the next byte, which may be one between two requests.
            if self.timeout_keep_alive_task is None and waited > self._limits.head_seconds:
                self.transport.close()
        elif self.cycle.more_body:
            if self.flow.read_paused:
                self._since = None
            elif waited > self._limits.body_seconds:
                slow = self._body_bytes - self._bytes_then < self._limits.body_bytes
                self._since = None
                if slow:
                    self._refuse(HttpInputError("the rest of the request's body does not come", status=408))

    def give_way(self) -> None:
        """Close: no request is in flight, and the descriptor is needed."""
        self.transport.abort()

    def _is_at_rest(self) -> bool:
        """Return whether no request is being read."""
        return self.cycle is None or (not self._is_in_head and not self.cycle.more_body)

    def _end_slow_head(self) -> None:
        if self._has_begun:
            self._refuse(HttpInputError("the head of the request does not come to its end", status=408))
        else:
            self.transport.close()

    def _head_too_large(self) -> HttpInputError:
        return HttpInputError(f"the request's head is larger than {self._limits.head_bytes >> 10} KiB", status=431)

    def _refuse(self, error: DmrcError) -> None:
        """Answer for the application, and read no further; a request before this one is answered first."""
        self._lingers = True
        self._since = None
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._is_in_head or cycle is not self._running:
                cycle.keep_alive = False
                return
            cycle.disconnect()
            if cycle.response_started:
                self.transport.close()
                return
        self.flow.resume_reading()
        answer = error_response(error, dialect_at(getattr(self, "url", b"").decode("latin-1")))
        ours = ((b"x-request-id", new_exchange_id().encode()), (b"connection", b"close"))
        headers = [*self.server_state.default_headers, *answer.raw_headers, *ours]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[answer.status_code] + head + b"\r\n" + bytes(answer.body))
        if self.transport.can_write_eof():
            self.transport.write_eof()


def _without_upgrade(value: bytes) -> bytes:
    return b",".join(token for token in value.split(b",") if token.strip().lower() != b"upgrade")
