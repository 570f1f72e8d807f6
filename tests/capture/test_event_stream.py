"""Server-Sent Events as servers write them: any line ends, comments, cut anywhere."""

from __future__ import annotations

import pytest

from dmrc.event_stream import EventReader, events

_LF = (
    b'\xef\xbb\xbf: a comment\nevent: message\ndata: {"a": 1}\n\n'
    b"id: 7\ndata:one\ndata: two\nretry: 3\n\n\n: ping\n\nevent: none\n\ndata: [DONE]\n\n"
)
_DATA = [b'{"a": 1}', b"one\ntwo", b"[DONE]"]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_read_whatever_ends_their_lines_and_wherever_they_are_cut(line_end: bytes, size: int) -> None:
    stream = _LF.replace(b"\n", line_end)
    reader = EventReader()

    found = [
        event for start in range(0, len(stream), size) for event in reader.read(stream[start : start + size])
    ] + reader.last()

    assert [event.data for event in found] == _DATA
    assert [event.end for event in found] == [event.end for event in events(stream)]
    assert [stream[: event.end].endswith(event.data.rpartition(b"\n")[2]) for event in found] == [True] * 3


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_an_event_comes_with_the_byte_that_ends_it(line_end: bytes) -> None:
    reader = EventReader()

    assert reader.read(b"data: x" + line_end) == []
    (event,) = reader.read(line_end)

    assert event.data == b"x"


def test_what_was_cut_at_the_end_comes_as_it_is() -> None:
    reader = EventReader()

    assert reader.read(b'data: {"a"') == []

    assert [event.data for event in reader.last()] == [b'{"a"']
