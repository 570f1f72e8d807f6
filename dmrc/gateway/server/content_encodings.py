"""Request bodies that were compressed (`Content-Encoding`), read piece by piece, so that none can grow unseen.

Source: RFC 9110, section 8.4; RFC 1950 to 1952; RFC 8878.
"""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Callable
from typing import Protocol

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from dmrc.errors import HttpInputError, InputError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODINGS = "gzip, deflate, zstd"
"""What is read, as `Accept-Encoding` says it."""

_PIECE_BYTES = 128 << 10
_MOST_ENCODINGS = 3
"""One inside the other."""
_MOST_PARTS = 1000
"""Members of gzip, frames of Zstandard: what is cut into more, each of which may hold nothing, is work and no text."""
# What RFC 8878, section 3.1.1.1.2 wants of every reader, and no more: 8 MiB.
_LARGEST_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}


class _Decoder(Protocol):
    """Decompresses one body."""

    def feed(self, data: bytes) -> None:
        """Take in bytes."""

    def take(self) -> bytes:
        """Return the next piece of what they hold; none: it needs more."""

    def check_end(self) -> None:
        """Raise EOFError where it may not end here."""


def with_decoded_body(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """Return what a request is without its encoding; `receive` then raises what is wrong with it (415, 400)."""
    headers = Headers(scope=scope)
    names = [name.strip().lower() for name in ",".join(headers.getlist("content-encoding")).split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if not names:
        return scope, receive
    hidden = (b"content-encoding", b"content-length")
    scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in hidden]}
    if len(names) > _MOST_ENCODINGS:
        return scope, _too_many_encodings
    for name in reversed(names):
        receive = _Decoding(receive, name)
    return scope, receive


async def _too_many_encodings() -> Message:
    raise HttpInputError(
        f"the request body has more than {_MOST_ENCODINGS} content-encodings", status=415, remedy="Use one, or none"
    )


class _Decoding:
    """A `receive` that gives a body in pieces of 128 KiB at most, whatever it grows to."""

    def __init__(self, receive: Receive, name: str) -> None:
        self._receive = receive
        self._name = name
        self._decoder: _Decoder | None = None
        self._has_all = self._has_ended = False

    async def __call__(self) -> Message:
        decoder = self._decoder = self._decoder or _decoder(self._name)
        while not self._has_ended:
            try:
                if piece := decoder.take():
                    await asyncio.sleep(0)
                    return {"type": "http.request", "body": piece, "more_body": True}
                if self._has_all:
                    self._has_ended = True
                    decoder.check_end()
                    return {"type": "http.request", "body": b"", "more_body": False}
                message = await self._receive()
                if message["type"] != "http.request":
                    return message
                decoder.feed(message.get("body", b""))
                self._has_all = not message.get("more_body", False)
            except (zlib.error, zstd.ZstdError, EOFError, ValueError) as error:
                raise InputError(f"the request body is not {self._name}: {error}") from error
        return await self._receive()


def _decoder(name: str) -> _Decoder:
    makers: dict[str, Callable[[], _Decoder]] = {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Deflate, "zstd": _Zstd}
    if name not in makers:
        raise HttpInputError(
            f"the request body has the content-encoding '{name}'", status=415, remedy=f"Use one of {ENCODINGS}, or none"
        )
    return makers[name]()


class _Gzip:
    """Reads gzip; a second member may follow the first."""

    def __init__(self) -> None:
        self._rest = b""
        self._parts = 1
        self._member = self._new(b"")

    def feed(self, data: bytes) -> None:
        self._rest += data

    def take(self) -> bytes:
        while self._rest:
            if self._member.eof:
                self._parts = _one_more(self._parts)
                self._member = self._new(self._rest)
            piece = self._member.decompress(self._rest, _PIECE_BYTES)
            self._rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                return piece
        return b""

    def check_end(self) -> None:
        if not self._member.eof:
            raise EOFError("it ends in the middle")

    def _new(self, beginning: bytes) -> zlib._Decompress:
        del beginning
        return zlib.decompressobj(zlib.MAX_WBITS | 16)


class _Deflate(_Gzip):
    """Reads what HTTP calls deflate: RFC 1950 by its standard, and RFC 1951 as some clients understand it."""

    def feed(self, data: bytes) -> None:
        if not self._has_begun and data:
            self._has_begun = True
            self._member = self._new(data)
        super().feed(data)

    _has_begun = False

    def _new(self, beginning: bytes) -> zlib._Decompress:
        has_header = beginning[:1] and beginning[0] & 0x0F == zlib.DEFLATED
        return zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)


class _Zstd:
    """Reads Zstandard; a second frame may follow the first."""

    def __init__(self) -> None:
        self._rest = b""
        self._parts = 1
        self._frame = zstd.ZstdDecompressor(options=_LARGEST_WINDOW)

    def feed(self, data: bytes) -> None:
        self._rest += data

    def take(self) -> bytes:
        while self._rest or not (self._frame.eof or self._frame.needs_input):
            if self._frame.eof:
                self._parts = _one_more(self._parts)
                self._frame = zstd.ZstdDecompressor(options=_LARGEST_WINDOW)
            piece = self._frame.decompress(self._rest, _PIECE_BYTES)
            self._rest = self._frame.unused_data if self._frame.eof else b""
            if piece:
                return piece
        return b""

    def check_end(self) -> None:
        if not self._frame.eof:
            raise EOFError("it ends in the middle")


def _one_more(parts: int) -> int:
    """Return the count of parts with the one that begins.

    Raises:
        ValueError: There are too many.
    """
    if parts >= _MOST_PARTS:
        raise ValueError(f"it has more than {_MOST_PARTS:,} parts")
    return parts + 1
