"""Bodies that were compressed (`Content-Encoding`), read piece by piece, so that none can grow unseen.

Source: RFC 9110, section 8.4.1; RFC 1950 to 1952; RFC 8878.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODINGS = "gzip, deflate, zstd"
"""What is read, as `Accept-Encoding` says it."""

NOT_DECODED = (zlib.error, zstd.ZstdError, EOFError, ValueError)
"""What a decoder raises where a body is not what it was said to be."""

_PIECE_BYTES = 128 << 10
_MOST_PARTS = 1000
"""Members of gzip, frames of Zstandard: what is cut into more, each of which may hold nothing, is work and no text."""
# What RFC 8878, section 3.1.1.1.2 wants of every reader, and no more: 8 MiB.
_LARGEST_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}


class Decoder(Protocol):
    """Decompresses one body."""

    def feed(self, data: bytes) -> None:
        """Take in bytes."""

    def take(self) -> bytes:
        """Return the next piece of what they hold, 128 KiB at most; none: it needs more."""

    def check_end(self) -> None:
        """Raise EOFError where it may not end here."""


def decoder_of(encoding: str) -> Decoder | None:
    """Return what reads an encoding, in lower case; None where nothing here does."""
    makers: dict[str, Callable[[], Decoder]] = {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Deflate, "zstd": _Zstd}
    return makers[encoding]() if encoding in makers else None


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
