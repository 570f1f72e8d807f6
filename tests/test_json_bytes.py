"""JSON is read and written as Python's own reader and writer do it, whoever does it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from dmrc.json_bytes import is_deeper, read_json, read_line, write_json

VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(some.characters()),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=30,
)

STRANGE = {
    "an integer of 64 bits": b"18446744073709551615",
    "the least integer of 64 bits": b"-9223372036854775808",
    "a larger integer": b'{"seed": 18446744073709551616}',
    "a smaller integer": b"[-9223372036854775809]",
    "a number of many digits": b"0.12345678901234567890123",
    "a number that is too large": b"1e999",
    "no number": b"NaN",
    "infinity": b"[-Infinity]",
    "minus nothing": b"[-0, -0.0]",
    "half of a character": b'"\\ud83d"',
    "both halves, the wrong way round": b'"\\ude00\\ud83d"',
    "a half in bytes": b'"\xed\xa0\xbd"',
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": '{"a": "\N{SNOWMAN}"}'.encode("utf-16"),
    "UTF-32 without a mark": '{"a": 1}'.encode("utf-32-le"),
    "a name twice": b'{"a": 1, "b": 2, "a": 3}',
    "space around": b' \r\n\t{"a": 1} \n',
    "deep, and read": b"[" * 900 + b"]" * 900,
    "many lists": b"[" + b"[]," * 2000 + b"[]]",
}
REFUSED = {
    "nothing": b"",
    "a byte that is no UTF-8": b'"\xff"',
    "a number of too many digits": b"1" * 5000,
    "a line end in a string": b'"a\nb"',
    "another space": b"\x0c1",
    "two values": b"{} {}",
    "a comma too many": b"[1,]",
    "deeper than anybody reads": b"[" * 200_000 + b"]" * 200_000,
}


@pytest.mark.parametrize("body", STRANGE.values(), ids=STRANGE)
def test_what_is_strange_is_read_as_python_reads_it(body: bytes) -> None:
    found, expected = read_json(body), json.loads(body)

    assert json.dumps(found) == json.dumps(expected)
    assert type(found) is type(expected)


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_what_python_refuses_is_refused(body: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_json(body)

    assert read_line(body) == {}


@pytest.mark.parametrize("levels", range(960, 1030, 3))
def test_where_python_stops_at_its_limit_of_recursion_everybody_stops(levels: int) -> None:
    """orjson goes to 1,024 levels, whatever the limit is; whoever walks such a value afterwards would fall over it."""
    body = b"[" * levels + b"]" * levels

    def is_read_by(reader: object) -> bool:
        try:
            reader(body)
        except RecursionError:
            return False
        return True

    # `read_json` calls Python's reader from one level further down.
    assert is_read_by(lambda body: (lambda: json.loads(body))()) == is_read_by(read_json)


@pytest.mark.slow("hundreds of documents")
@given(VALUES, some.sampled_from([None, 2]), some.booleans())
@settings(max_examples=300)
def test_what_is_written_by_python_is_read_as_it_was(value: object, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    body = text.encode("utf-8", "surrogatepass")

    assert json.dumps(read_json(body)) == json.dumps(json.loads(body))


@pytest.mark.slow("hundreds of documents")
@given(VALUES)
@settings(max_examples=300)
def test_what_is_written_is_read_as_it_was(value: object) -> None:
    written = write_json(value)

    assert json.dumps(json.loads(written)) == json.dumps(value)
    written.decode()  # it is UTF-8, with halves of characters as escapes


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**30, "\ud83d", {1: None}, {"a": [None, math.nan]}])
def test_what_orjson_does_not_write_is_written_as_python_writes_it(value: object) -> None:
    assert write_json(value) == json.dumps(value, separators=(",", ":")).encode()


def test_what_is_no_json_is_not_written() -> None:
    with pytest.raises(TypeError):
        write_json({"a": b"bytes"})


def test_a_line_holds_an_object_or_nothing() -> None:
    assert read_line(b' {"a": 12345678901234567890123}\r') == {"a": 12345678901234567890123}
    assert read_line(b'{"a": "\\ud83d"}') == {"a": "\ud83d"}
    assert read_line(b'{"a": 12345678901234567890123} {}') == {}
    assert read_line(b"[1]") == read_line(b'{"a"') == {}


@pytest.mark.parametrize(("value", "levels"), [(1, 0), ([], 1), ({"a": [1]}, 2), ([[], [[]], {"a": 1}], 3)])
def test_levels_are_those_of_lists_and_objects(value: object, levels: int) -> None:
    assert not is_deeper(value, levels)
    assert levels == 0 or is_deeper(value, levels - 1)
