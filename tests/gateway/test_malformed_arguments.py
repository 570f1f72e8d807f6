"""Arguments of tool calls without their end: never JSON, however they are cut into pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmrc.gateway.faults.malformed import Unfinished
from dmrc.gateway.faults.stream_pieces import StreamPieces

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), VALUES), st.booleans(), st.integers(1, 9))
def test_what_is_left_is_a_beginning_and_no_json(value: dict[str, object], is_ascii: bool, size: int) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii)
    unfinished = Unfinished()

    left = "".join(unfinished.read(text[start : start + size]) for start in range(0, len(text), size))

    assert left == text[:-1]
    with pytest.raises(json.JSONDecodeError):
        json.loads(left)


@given(VALUES)
def test_what_is_no_object_is_not_json_either(value: object) -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(Unfinished().read(json.dumps(value)))


@given(
    st.lists(st.sampled_from([b'data: {"a": "b"}', b"event: x", b"\n", b"\r\n", b"\n\n", b": still here"])),
    st.integers(1, 9),
)
def test_no_byte_of_a_stream_is_lost(parts: list[bytes], size: int) -> None:
    stream, pieces = b"".join(parts), StreamPieces()

    found = [piece for start in range(0, len(stream), size) for piece in pieces.read(stream[start : start + size])]

    assert b"".join(found) + pieces.rest() == stream
