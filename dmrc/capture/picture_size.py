"""How many pixels a picture has, by the beginning of its file. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

_PNG = re.compile(rb"\x89PNG\r\n\x1a\n.{4}IHDR(.{4})(.{4})", re.DOTALL)
_GIF = re.compile(rb"GIF8[79]a(..)(..)", re.DOTALL)
# The three forms of WebP: lossy, lossless, extended. Source: https://developers.google.com/speed/webp/docs/riff_container
_WEBP_LOSSY = re.compile(rb"RIFF.{4}WEBPVP8 .{7}\x9d\x01\x2a(..)(..)", re.DOTALL)
_WEBP_LOSSLESS = re.compile(rb"RIFF.{4}WEBPVP8L.{4}\x2f(.{4})", re.DOTALL)
_WEBP_EXTENDED = re.compile(rb"RIFF.{4}WEBPVP8X.{8}(.{3})(.{3})", re.DOTALL)
# Frames of a JPEG that say its size: all SOF markers but those of tables (C4, C8, CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def picture_size(beginning: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels of a PNG, JPEG, GIF or WebP; None for all else, and where it is cut before.

    A JPEG says it behind what its camera wrote, which may be some ten thousand bytes.
    """
    read: Callable[[bytes], tuple[int, int] | None] = _jpeg if beginning.startswith(b"\xff\xd8") else _at_once
    size = read(beginning)
    return size if size is not None and all(size) else None


def _at_once(data: bytes) -> tuple[int, int] | None:
    if match := _PNG.match(data):
        return int.from_bytes(match[1]), int.from_bytes(match[2])
    if match := _GIF.match(data):
        return _little(match[1]), _little(match[2])
    if match := _WEBP_LOSSY.match(data):
        return _little(match[1]) & 0x3FFF, _little(match[2]) & 0x3FFF
    if match := _WEBP_LOSSLESS.match(data):
        bits = _little(match[1])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if match := _WEBP_EXTENDED.match(data):
        return _little(match[1]) + 1, _little(match[2]) + 1
    return None


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        if marker == 0xFF:  # a byte that fills
            at += 1
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
    return None
