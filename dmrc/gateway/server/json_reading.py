"""JSON of any length, read on the event loop a few milliseconds at a time.

A thread would not help: Python's own reader holds the GIL until it is done, which for 10 MB can be a second. Nor would
a process: its answer would have to be read in the same way.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from dmrc.errors import HttpInputError, InputError
from dmrc.exchange import JsonValue
from dmrc.json_bytes import is_deeper, read_json

AT_ONCE_BYTES = 256 << 10
"""Up to here Python's own reader is done soon enough."""

MOST_VALUES = 500_000
"""Of long JSON."""

VALUE_BYTES = 150
"""What one value takes in memory, about."""

_DEEPEST = 200
"""Levels."""
_TOO_DEEP = f"it is nested deeper than {_DEEPEST} levels"
_PIECE_SECONDS = 0.004
# A request's parts stand on the fourth level: its messages, one of them, its content, a part of that.
_LEVELS_APART = 4
# A list or an object that is no longer than this is read by Python's own reader: it costs a third.
_SHORT = 4096

# One half of a pair, as JSON writes it; whether the other half stands beside it, its text tells when it is read.
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = "\\u"


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is not a number")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_decode = _decoder.raw_decode
_space = re.compile(r"[ \t\n\r]*").match
_key = re.compile(r'[ \t\n\r]*(?=")').match
_colon = re.compile(r"[ \t\n\r]*:[ \t\n\r]*").match
_next = re.compile(r"[ \t\n\r]*([,\]}])[ \t\n\r]*").match

_T = TypeVar("_T")
_Container = list[JsonValue] | dict[str, JsonValue]


def read_short(body: bytes) -> JsonValue:
    """Return the value that a body holds, at once.

    Raises:
        InputError: It is not JSON, or is nested too deep.
    """
    try:
        value = read_json(body, _read_by_python)
        if body.count(b"{") + body.count(b"[") > _DEEPEST:
            _refuse_depth(value, _DEEPEST)
    except RecursionError as error:
        raise InputError(f"the request body is not JSON: {_TOO_DEEP}") from error
    except ValueError as error:
        raise InputError(f"the request body is not JSON: {error}") from error
    return value


async def read_long(body: bytes) -> tuple[JsonValue, int]:
    """Return the value that a body holds, and of how many values it is made; others run meanwhile.

    Raises:
        InputError: It is not JSON, or is nested too deep.
        HttpInputError: It holds too many values (413).
    """
    try:
        await asyncio.sleep(0)
        text = _text_of(body)
        await asyncio.sleep(0)
        reader = _Reader(text)
        for _ in reader.steps():
            await asyncio.sleep(0)
    except ValueError as error:
        raise InputError(f"the request body is not JSON: {error}") from error
    return reader.value, reader.values


async def at_length(body: bytes, work: Callable[[], _T]) -> _T:
    """Return what `work` makes of a request: of a long one in a thread.

    It takes the time that it takes, but the others wait no longer than the thread keeps the GIL at a time, which for
    Python's own code is half a millisecond: see `SWITCH_SECONDS`.
    """
    return work() if len(body) <= AT_ONCE_BYTES else await asyncio.to_thread(work)


def written(value: JsonValue, levels: int = _LEVELS_APART) -> Iterator[bytes]:
    """Yield a value as JSON, in pieces: Python's own writer keeps the GIL for each of them, and not for the whole."""
    if levels and isinstance(value, dict) and value:
        before = "{"
        for name, inner in value.items():
            yield f"{before}{json.dumps(name)}:".encode()
            yield from written(inner, levels - 1)
            before = ","
        yield b"}"
    elif levels and isinstance(value, list) and len(value) > 1:
        before = "["
        for inner in value:
            yield before.encode()
            yield from written(inner, levels - 1)
            before = ","
        yield b"]"
    else:
        yield json.dumps(value).encode()


def _read_by_python(body: bytes) -> JsonValue:
    value: JsonValue = _decoder.decode(_text_of(body))
    if _HALF.search(body):
        _check_characters(json.dumps(value, ensure_ascii=False))
    return value


def _text_of(body: bytes) -> str:
    """Return a body as text: JSON is UTF-8. Source: RFC 8259, section 8.1.

    Raises:
        ValueError: It is not.
    """
    return body.decode("utf-8-sig")


def _check_characters(text: str) -> None:
    """See that there is no half of a character, as where a text was cut inside of an emoji: no engine reads one.

    Raises:
        ValueError: There is one.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise ValueError(f"{half} is one half of a character, and the other one is missing") from error


class _Reader:
    """Reads one text; its loop is Python's, and all that is short is read by the reader in C."""

    def __init__(self, text: str) -> None:
        self.value: JsonValue = None
        self._text = text
        self._at = 0
        self.values = 0
        self._open: list[_Container] = []
        self._keys: list[str] = []

    def steps(self) -> Iterator[None]:
        """Read the text into `value`, and yield now and then.

        Raises:
            ValueError: It is not JSON.
        """
        self._skip_space()
        until = time.perf_counter() + _PIECE_SECONDS
        while not self._step():
            if self.values > MOST_VALUES:
                raise HttpInputError(f"the JSON of the request has more than {MOST_VALUES:,} values", status=413)
            if time.perf_counter() > until:
                yield
                until = time.perf_counter() + _PIECE_SECONDS
        if self._at != len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, self._at)

    def _step(self) -> bool:
        """Read one value that is short or no container, or open a long container; True: all is read."""
        opened = self._open_or_read()
        if opened is None:
            return self._put()
        if len(self._open) >= _DEEPEST:
            raise ValueError(_TOO_DEEP)
        self._open.append(opened)
        if self._text[self._at : self._at + 1] == _end_of(opened):
            self._at += 1
            self._skip_space()
            self.value = self._open.pop()
            return self._put()
        self._read_key()
        return False

    def _open_or_read(self) -> _Container | None:
        """Return a new container where one begins that is long; else read into `value`, and return None."""
        text, at = self._text, self._at
        bracket = text[at : at + 1]
        self.values += 1
        if bracket not in ("[", "{"):
            self.value, self._at = _decode(text, at)
            if isinstance(self.value, str) and not self.value.isascii():
                _check_characters(self.value)
            return None
        piece = text[at : at + _SHORT]
        try:
            self.value, end = _decode(piece)
        except (ValueError, RecursionError):  # it is longer, or wrong: its parts will tell
            self._at = at + 1
            self._skip_space()
            return [] if bracket == "[" else {}
        if piece.find(_ESCAPE, 0, end) >= 0:
            _check_characters(json.dumps(self.value, ensure_ascii=False))
        self.values += piece.count(",", 0, end)
        left = _DEEPEST - len(self._open)
        if piece.count("[", 0, end) + piece.count("{", 0, end) > left:
            _refuse_depth(self.value, left)
        self._at = at + end
        return None

    def _put(self) -> bool:
        """Put `value` into the container that is open, and close those that end here; True: the last one has ended."""
        while self._open:
            container = self._open[-1]
            if isinstance(container, list):
                container.append(self.value)
            else:
                container[self._keys.pop()] = self.value
            follows = _next(self._text, self._at)
            if follows is None or follows[1] not in (",", _end_of(container)):
                raise json.JSONDecodeError("Expecting ',' delimiter", self._text, self._at)
            self._at = follows.end()
            if follows[1] == ",":
                self._read_key()
                return False
            self.value = self._open.pop()
        self._skip_space()
        return True

    def _read_key(self) -> None:
        if isinstance(self._open[-1], list):
            return
        if _key(self._text, self._at) is None:
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self._text, self._at)
        key, self._at = _decode(self._text, self._at)
        if not key.isascii():
            _check_characters(key)
        colon = _colon(self._text, self._at)
        if colon is None:
            raise json.JSONDecodeError("Expecting ':' delimiter", self._text, self._at)
        self._at = colon.end()
        self._keys.append(key)

    def _skip_space(self) -> None:
        space = _space(self._text, self._at)
        self._at = space.end() if space else self._at


def _end_of(container: _Container) -> str:
    return "]" if isinstance(container, list) else "}"


def _refuse_depth(value: JsonValue, most: int) -> None:
    """Refuse more levels than `most`: whoever reads a value calls itself for each, and Python's own reader goes deeper.

    Raises:
        ValueError: It has more.
    """
    if is_deeper(value, most):
        raise ValueError(_TOO_DEEP)
