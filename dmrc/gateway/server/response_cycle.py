"""One request of a connection, and its answer: uvicorn's, with fewer system calls and without a task that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from dmrc.gateway.server.body_writer import EXTENSION, BodyFlow, ConnectionBody

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, ASGISendEvent

HangUpWatch = Callable[[Callable[[], None] | None], None]
"""Takes what is called when the caller hangs up; None: nobody asks any more."""

_HANG_UPS = "dmrc.hang_ups"
_JOINED_BYTES = 64 << 10


def hang_ups_of(scope: Scope) -> HangUpWatch:
    """Return where to say what happens when the caller of a request goes away before its answer is complete."""
    hang_ups: HangUpWatch = scope["extensions"][_HANG_UPS]
    return hang_ups


class ResponseCycle(RequestResponseCycle):
    """Answers one request.

    The head of an answer whose length is told waits for the first bytes of its body, and goes with them in one packet;
    where they do not come at once, it goes before them.
    """

    def __init__(self, connection: HttpToolsProtocol, *, keep_alive: bool) -> None:
        """Answer the request whose head `connection` has read."""
        super().__init__(
            scope=connection.scope,
            transport=connection.transport,
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=connection.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=connection.expect_100_continue,
            keep_alive=keep_alive,
            on_response=connection.on_response_complete,
        )
        self._loop = connection.loop
        self._held = b""
        self._on_hang_up: Callable[[], None] | None = None
        body = ConnectionBody(self, cast(BodyFlow, connection.flow), self._write)
        cast(Scope, connection.scope)["extensions"] = {_HANG_UPS: self._watch, EXTENSION: body}

    def _watch(self, on_hang_up: Callable[[], None] | None) -> None:
        self._on_hang_up = on_hang_up
        if on_hang_up is not None and self.disconnected:
            on_hang_up()

    def disconnect(self) -> None:
        """Note that the caller has gone, or gets no answer from the application."""
        self.disconnected = True
        self.message_event.set()
        if self._on_hang_up is not None:
            self._on_hang_up()

    async def run_asgi(self, app: ASGI3Application) -> None:
        """Run the application; what is held of a head goes before an end that the application did not mean."""

        async def whole(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await cast(ASGIApp, app)(scope, receive, send)
            finally:
                self._flush()

        await super().run_asgi(cast("ASGI3Application", whole))

    async def send(self, message: ASGISendEvent) -> None:
        """Send the next part of the answer; see ASGI."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        said = cast("Mapping[str, Any]", message)
        expected = "http.response.body" if self.response_started else "http.response.start"
        if said["type"] != expected or self.response_complete:
            raise RuntimeError(f"the application sent '{said['type']}' where '{expected}' was due")
        if self.response_started:
            self._send_body(said.get("body", b""), more=said.get("more_body", False))
        else:
            self._send_head(said)

    def _send_head(self, message: Mapping[str, Any]) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        status, is_head_asked = message["status"], self.scope["method"] == "HEAD"
        headers = [(name.lower(), value) for name, value in (*self.default_headers, *message.get("headers", ()))]
        _check(headers)
        lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in headers)]
        says_close = False
        for name, value in headers:
            if name == b"content-length" and self.chunked_encoding is None:
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"transfer-encoding" and value.lower() == b"chunked":
                self.expected_content_length = 0
                self.chunked_encoding = True
            elif name == b"connection" and b"close" in (token.strip().lower() for token in value.split(b",")):
                self.keep_alive, says_close = False, True
        if not self.keep_alive and not says_close:
            lines.append(b"connection: close\r\n")
        if self.chunked_encoding is None and not is_head_asked and status not in (204, 304):
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self._held = b"".join(lines)
        if self.expected_content_length and not is_head_asked:
            self._loop.call_soon(self._flush)
        else:
            self._flush()

    def _send_body(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
        elif self.chunked_encoding:
            framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            self._write(framed if more else framed + b"0\r\n\r\n")
        else:
            if len(body) > self.expected_content_length:
                raise RuntimeError("the body of the answer is longer than its content-length")
            self.expected_content_length -= len(body)
            self._write(body)
        if not more:
            self._complete()

    def _complete(self) -> None:
        if self.expected_content_length != 0:
            raise RuntimeError("the body of the answer is shorter than its content-length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _write(self, data: bytes) -> None:
        held, self._held = self._held, b""
        if not held:
            self.transport.write(data)
        elif len(data) > _JOINED_BYTES:
            self.transport.writelines((held, data))
        else:
            self.transport.write(held + data)

    def _flush(self) -> None:
        if self._held:
            self._write(b"")


def _check(headers: list[tuple[bytes, bytes]]) -> None:
    """Refuse what would end a header: of names and values, joined, each byte is looked at once.

    Raises:
        RuntimeError: There is one.
    """
    if HEADER_RE.search(b"".join([name for name, _ in headers])):
        raise RuntimeError("Invalid HTTP header name.")
    if HEADER_VALUE_RE.search(b"".join([value for _, value in headers])):
        raise RuntimeError("Invalid HTTP header value.")
