"""What the daemon and its recorder process say to each other: frames of JSON, and of bytes that are sent as they are.

Shape of a frame: four lengths in bytes, little-endian, of JSON, of two bodies and of chunk offsets; then these. The
JSON of a frame is a list whose first item is a `FrameKind`.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import IntEnum
from operator import attrgetter
from typing import Any, NamedTuple

import orjson

from dmrc.capture.rows import CONTENT_COLUMNS
from dmrc.exchange import Exchange, exchange_of
from dmrc.json_bytes import read_json, write_json

_LENGTHS = struct.Struct("<IIII")
_NAMES = tuple(one.name for one in fields(Exchange))
_values = attrgetter(*_NAMES)
# These are not in the JSON.
_REQUEST, _RESPONSE, _OFFSETS = (_NAMES.index(name) for name in ("request_body", "response_body", "chunk_offsets"))
_MAPPINGS = tuple(_NAMES.index(name) for name in ("request_headers", "response_headers", "request_media"))
_NOTES = _NAMES.index("annotations")


class FrameKind(IntEnum):
    """What a frame says; its other items are named behind it."""

    OPEN = 0
    """To the process: path of the database, its largest size in bytes or null, fields of `CaptureLimits`."""
    REDACTOR = 1
    """To the process: number, list of secrets. With 0 as the number: all numbers are forgotten."""
    FINISHED = 2
    """To the process: number, level, number of the redactor or null, exchange."""
    PREPARED = 3
    """To the process: number, words, evidence or null, exchange; it is written as it is."""
    TRIM = 4
    """To the process: fields of `Retention`."""
    END = 5
    """To the process: seconds that it may go on writing. The end of the connection without it: as long as it likes."""
    TOLD = 6
    """To the daemon: list of number, fields that changed, first words of the prompt."""
    DONE = 7
    """To the daemon: number up to which all are done, list of number and failure."""
    TROUBLE = 8
    """To the daemon: why nothing can be written now."""
    UNTRIMMED = 9
    """To the daemon: why the record was not trimmed."""
    READY = 10
    """To the daemon: the process has started."""


class RecorderFrame(NamedTuple):
    """One frame as it came."""

    kind: int
    """A `FrameKind`."""
    items: list[Any]
    """What stands behind the kind."""
    request: bytes
    """The first body."""
    response: bytes
    """The second body."""
    offsets: bytes
    """Times as doubles, then places as 64-bit integers."""

    def exchange(self) -> Exchange:
        """Return the exchange that is its last item, with the bodies and offsets that it came with."""
        values = self.items[-1]
        values[_REQUEST], values[_RESPONSE] = self.request, self.response
        values[_NOTES] = read_json(values[_NOTES].encode()) if values[_NOTES] else {}
        half = len(self.offsets) // 2
        values[_OFFSETS] = tuple(zip(array("d", self.offsets[:half]), array("q", self.offsets[half:]), strict=True))
        return exchange_of(values)


def framed(kind: FrameKind, *items: Any) -> bytes:
    """Return a frame without bodies."""
    written = write_json([int(kind), *items])
    return _LENGTHS.pack(len(written), 0, 0, 0) + written


def exchange_framed(kind: FrameKind, *items: Any, exchange: Exchange) -> bytes:
    """Return a frame with an exchange as its last item.

    Raises:
        TypeError: A plugin put something into it that is no JSON, or no bytes.
        RecursionError: Or that is nested too deep.
    """
    values = list(_values(exchange))
    request, response, offsets = values[_REQUEST], values[_RESPONSE], values[_OFFSETS]
    values[_REQUEST] = values[_RESPONSE] = values[_OFFSETS] = None
    for place in _MAPPINGS:
        values[place] = dict(values[place])
    # Most have none; a plugin may note what JSON has no word for, which goes as it is stored.
    values[_NOTES] = write_json(values[_NOTES]).decode() if values[_NOTES] else ""
    written = _written([int(kind), *items, values])
    pairs = b""
    if offsets:
        times, places = zip(*offsets, strict=True)
        pairs = array("d", times).tobytes() + array("q", places).tobytes()
    lengths = _LENGTHS.pack(len(written), len(request), len(response), len(pairs))
    return b"".join([lengths, written, request, response, pairs])


def _written(items: list[Any]) -> bytes:
    """Write what has no NaN, for which `write_json` looks: a column of SQLite is null for it, too."""
    try:
        return orjson.dumps(items)
    except orjson.JSONEncodeError:  # a character that is half of one
        return write_json(items)


def changes(before: Exchange, after: Exchange) -> dict[str, Any]:
    """Return the fields beside the content that are not what they were, by name."""
    pairs = zip(_NAMES, _values(before), _values(after), strict=True)
    return {name: new for name, old, new in pairs if new is not old and name not in CONTENT_COLUMNS and new != old}


WITHOUT_CONTENT: Mapping[str, Any] = {
    "request_headers": {},
    "request_body": b"",
    "response_headers": {},
    "response_body": b"",
    "chunk_offsets": (),
    "request_media": {},
}
"""Fields of an exchange of which only the facts are known."""


class FrameReader:
    """Takes frames out of a stream of bytes, cut anywhere."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._buffer = bytearray()

    def read(self, data: bytes) -> list[RecorderFrame]:
        """Return the frames that are complete with these bytes."""
        self._buffer += data
        position, size = 0, len(self._buffer)
        with memoryview(self._buffer) as view:
            frames = []
            while size - position >= _LENGTHS.size:
                lengths = _LENGTHS.unpack_from(view, position)
                end = position + _LENGTHS.size + sum(lengths)
                if end > size:
                    break
                frames.append(_frame(view[position + _LENGTHS.size : end], lengths))
                position = end
        del self._buffer[:position]
        return frames


def _frame(view: memoryview, lengths: Sequence[int]) -> RecorderFrame:
    parts, start = [], 0
    for length in lengths:
        parts.append(bytes(view[start : start + length]) if length else b"")
        start += length
    document: Any = read_json(parts[0])
    return RecorderFrame(document[0], document[1:], *parts[1:])
