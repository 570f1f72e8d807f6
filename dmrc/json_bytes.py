"""JSON as bytes, read and written by orjson wherever it says the same as Python's own `json`, and by that elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite

import orjson

from dmrc.fields import JsonValue

# orjson makes a float of an integer that does not fit into 64 bits: of none with fewer digits than this.
_LONG_NUMBER = b"0" * 19
_DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
# Python's own reader stops at its limit of recursion, orjson at 1,024 levels.
_SURE_LEVELS = 500

_LINE = json.JSONDecoder()
_SPACE = " \t\r\n"


def read_json(body: bytes, otherwise: Callable[[bytes], JsonValue] = json.loads) -> JsonValue:
    """Return the value that a body holds.

    `otherwise` reads what orjson refuses, or would read differently: integers of more than 64 bits, halves of
    characters, NaN and infinity, other encodings than UTF-8, a byte order mark, deep nesting, and what is no JSON.

    Raises:
        ValueError: As `otherwise` does: it is not JSON.
        RecursionError: As `otherwise` does: it is nested too deep.
    """
    try:
        value: JsonValue = orjson.loads(body)
    except orjson.JSONDecodeError:
        return otherwise(body)
    if _LONG_NUMBER in body.translate(_DIGITS):
        return otherwise(body)
    if body.count(b"[") + body.count(b"{") > _SURE_LEVELS and is_deeper(value, _SURE_LEVELS):
        return otherwise(body)
    return value


def read_line(line: bytes) -> dict[str, JsonValue]:
    """Return the object that one line of a stream is, which is UTF-8; an empty one when it is anything else."""
    try:
        value = read_json(line, _read_line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(value: JsonValue) -> bytes:
    """Return a value as JSON in UTF-8, without spaces.

    What orjson does not write is written by Python's own writer: integers of more than 64 bits, keys that are no text,
    halves of characters (as escapes), and NaN and infinity, of which orjson would make null.

    Raises:
        TypeError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    try:
        written = orjson.dumps(value)
    except orjson.JSONEncodeError:
        return _written_by_python(value)
    return written if b"null" not in written or _is_finite(value) else _written_by_python(value)


def is_deeper(value: JsonValue, levels: int) -> bool:
    """Return whether lists and objects are nested in more levels than these."""
    level = [value]
    for _ in range(levels + 1):
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return False
        level = [inner for each in containers for inner in (each.values() if isinstance(each, dict) else each)]
    return True


def _read_line(line: bytes) -> JsonValue:
    """Read text in UTF-8 at half the cost of `json.loads`, which looks for other encodings."""
    text = line.decode("utf-8", "surrogatepass").strip(_SPACE)
    value: JsonValue
    value, end = _LINE.raw_decode(text)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def _is_finite(value: JsonValue) -> bool:
    """Return whether each number is one that JSON has; what orjson has written is not nested deep."""
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, list) or all(map(_is_finite, value))


def _written_by_python(value: JsonValue) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
