"""Raw bodies taken apart without ever raising: JSON, and what is left of it when it was cut."""

from __future__ import annotations

import json
import re

from dmrc.fields import JsonValue

LARGEST_PARSED_BYTES = 1 << 20
"""Longer JSON is only searched for its facts: `json.loads` holds the GIL, and the gateway with it, until it is done."""

_LONGEST_FRAGMENT = 8192
_JSON = json.JSONDecoder()


def parse_json(body: bytes) -> JsonValue:
    """Return the value that the body holds, or None when it is not JSON, nests too deep, or is too long to parse."""
    if len(body) > LARGEST_PARSED_BYTES:
        return None
    try:
        value: JsonValue = json.loads(body)
    # ValueError: no JSON, no UTF-8, or a number of more than 4,300 digits.
    except (ValueError, RecursionError):
        return None
    return value


def parse_object(body: bytes) -> dict[str, JsonValue]:
    """Return the JSON object that the body holds; an empty one when it holds anything else."""
    value = parse_json(body)
    return value if isinstance(value, dict) else {}


def find_object(body: bytes, key: str) -> dict[str, JsonValue]:
    """Return the last object named `key` in JSON that cannot be parsed as a whole; an empty one when there is none.

    A string cannot pretend to be one: the quotes in it are escaped.
    """
    start = None
    for match in re.finditer(rb'"' + key.encode() + rb'"\s{0,8}:\s{0,8}(?=\{)', body):
        start = match.end()
    if start is None:
        return {}
    text = body[start : start + _LONGEST_FRAGMENT].decode("utf-8", "replace")
    try:
        value: JsonValue = _JSON.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def find_string(body: bytes, key: str, start: int = 0) -> str | None:
    """Return the first string named `key` at or after `start` in JSON that cannot be parsed, even if it was cut."""
    match = re.compile(rb'"' + key.encode() + rb'"\s{0,8}:\s{0,8}"((?:[^"\\]|\\.)*+)', re.DOTALL).search(body, start)
    if match is None:
        return None
    raw = match[1][: LARGEST_PARSED_BYTES // 4].decode("utf-8", "replace")
    # A cut in the middle of an escape leaves at most five characters that do not decode.
    for cut in range(6):
        try:
            value: JsonValue = json.loads(f'"{raw[: len(raw) - cut]}"', strict=False)
        except ValueError:
            continue
        return value if isinstance(value, str) else None
    return None


def items_of(value: JsonValue) -> list[dict[str, JsonValue]]:
    """Return the objects in a list; nothing when the value is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def object_of(value: JsonValue) -> dict[str, JsonValue]:
    """Return the value when it is an object, and an empty object otherwise."""
    return value if isinstance(value, dict) else {}
