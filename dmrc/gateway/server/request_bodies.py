"""Request bodies in memory: each one bounded, and all of them together."""

from __future__ import annotations

import asyncio
import ctypes
import json
import re

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from dmrc.errors import BusyError, DmrcError, HttpInputError, InputError
from dmrc.exchange import JsonValue
from dmrc.gateway.server.json_reading import AT_ONCE_BYTES, VALUE_BYTES, read_long, read_short
from dmrc.gateway.server.request_fields import fields_of, first

TEXT_LIMIT_BYTES = 16 << 20
"""JSON apart from pictures: four times what a context of a million tokens holds."""

PICTURES_LIMIT_BYTES = 48 << 20
"""Pictures, sounds and documents in a request, as base64, beside its text."""

BODIES_LIMIT_BYTES = 192 << 20
"""Requests that are read, wait or run may have so much together; the next byte is refused, with 503."""

DOCUMENT_LIMIT_BYTES = 1 << 20
"""What manages models, and asks none, is short."""

# Words, or the structure of JSON: base64 has none of these.
_TEXT = re.compile(rb"[ ,{\[]")
_LARGE_BYTES = 1 << 20
_TRIM_SECONDS = 2.0


class ClientDisconnected(Exception):
    """The caller went away before its answer was complete."""


class Body:
    """One body, while it is held: from the beginning of a block to its end."""

    def __init__(self, bodies: RequestBodies, scope: Scope, receive: Receive) -> None:
        """Hold nothing yet."""
        self.data = b""
        self.held_bytes = 0
        """What it counts for."""
        self._bodies = bodies
        self._scope = scope
        self._receive = receive

    async def __aenter__(self) -> Body:
        """Read it; see `RequestBodies.read`."""
        try:
            _check_length(self._scope, TEXT_LIMIT_BYTES + PICTURES_LIMIT_BYTES)
            self.data = _in_utf8(await self._read())
        except BaseException:
            self._bodies.let_go(self)
            raise
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Let go of it."""
        self._bodies.let_go(self)

    async def _read(self) -> bytes:
        chunks: list[bytes] = []
        text_bytes = 0
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk = message.get("body", b"")
            self.hold(len(chunk))
            if _TEXT.search(chunk):
                text_bytes += len(chunk)
            if text_bytes > TEXT_LIMIT_BYTES or self.held_bytes - text_bytes > PICTURES_LIMIT_BYTES:
                raise _too_large(f"{_mib(TEXT_LIMIT_BYTES)}, and {_mib(PICTURES_LIMIT_BYTES)} of pictures beside")
            chunks.append(chunk)
            more = message.get("more_body", False)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def hold(self, size: int) -> None:
        """Count so many bytes more.

        Raises:
            BusyError: They do not fit beside those of other requests.
        """
        self.held_bytes += size
        self._bodies.hold(size)

    async def json(self) -> JsonValue:
        """Read it, a long one when those before it are read.

        Raises:
            InputError: It is not JSON.
            HttpInputError: It holds too many values (413).
            BusyError: They do not fit beside those of other requests.
        """
        if len(self.data) <= AT_ONCE_BYTES:
            return read_short(self.data)
        async with self._bodies.turn:
            value, count = await read_long(self.data)
        self.hold(count * VALUE_BYTES)
        return value


class RequestBodies:
    """The bodies of all requests that have not ended. For one event loop."""

    def __init__(self, limit_bytes: int = BODIES_LIMIT_BYTES) -> None:
        self.turn = asyncio.Lock()
        """Held by who reads a long body as JSON."""
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._trims = False

    def read(self, scope: Scope, receive: Receive) -> Body:
        """Return a block that reads a body at its beginning; the body counts until its end.

        Raises:
            ClientDisconnected: The caller went away meanwhile.
            HttpInputError: It is larger than one may be (413).
            BusyError: It does not fit beside those of other requests.
        """
        return Body(self, scope, receive)

    def let_go(self, body: Body) -> None:
        """Count a body no more."""
        self._held_bytes -= body.held_bytes
        if body.held_bytes > _LARGE_BYTES:
            self.give_back_soon()

    def hold(self, size: int) -> None:
        """Count bytes of a body; whoever holds it takes them off again.

        Raises:
            BusyError: They do not fit beside those of others.
        """
        self._held_bytes += size
        if self._held_bytes > self._limit_bytes:
            raise BusyError(
                f"the requests that wait have {_mib(self._limit_bytes)} together already",
                retry_after_seconds=5,
                remedy="Try again later, or send less at once",
            )

    def give_back_soon(self) -> None:
        """Give the memory of a large body back to the system, when the record has let go of it, too."""
        if self._trims:
            return
        self._trims = True

        def give_back() -> None:
            self._trims = False
            asyncio.get_running_loop().run_in_executor(None, _give_back)

        asyncio.get_running_loop().call_later(_TRIM_SECONDS, give_back)


async def value_of(request: Request) -> object:
    """Return any JSON value that is the body of a request that asks no model.

    Raises:
        InputError: It is no JSON.
        HttpInputError: It is larger than one may be (413).
    """
    _check_length(request.scope, DOCUMENT_LIMIT_BYTES)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > DOCUMENT_LIMIT_BYTES:
                raise _too_large(_mib(DOCUMENT_LIMIT_BYTES))
    except ClientDisconnect as error:
        raise InputError("the caller went away before the end of the request") from error
    return read_short(bytes(body))


def _in_utf8(body: bytes) -> bytes:
    """Return JSON without a byte order mark, and one of another Unicode encoding in UTF-8: an engine reads no other."""
    if body.startswith(b"{") and not body.startswith(b"{\0"):
        return body
    encoding = json.detect_encoding(body)
    if encoding == "utf-8":
        return body
    try:
        return body.decode(encoding).encode()
    except UnicodeError:
        return body  # it is no JSON


def _check_length(scope: Scope, limit_bytes: int) -> None:
    """Refuse what says itself that it is too large, before a byte of it is read."""
    length = first(fields_of(scope), "content-length") or ""
    if length.isdecimal() and int(length) > limit_bytes:
        raise _too_large(_mib(limit_bytes))


def _too_large(limit: str) -> DmrcError:
    return HttpInputError(f"the request is larger than {limit}", status=413)


def _mib(size: int) -> str:
    return f"{size >> 20} MiB"


def _give_back() -> None:
    """Ask the C library for what it keeps after large values; musl and macOS keep none."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
