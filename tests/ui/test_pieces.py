from dmrc.ui.pieces import MOST_PIECES, pieces
from tests.capture.recorded import SSE, recorded


def streamed(*lines: bytes, **changes):
    body, offsets = b"", []
    for at, line in enumerate(lines):
        offsets.append((10.0 * (at + 1), len(body)))
        body += line + b"\n\n"
    return recorded(
        "chat.json", stream=True, response_body=body, response_headers=SSE, chunk_offsets=tuple(offsets), **changes
    )


def test_each_piece_has_its_time_and_its_words():
    call = b'{"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]}'
    told = pieces(streamed(b'data: {"choices": [{"delta": {"content": "Hel"}}]}', b"data: " + call, b"data: [DONE]"))

    assert [(one.at_ms, one.gap_ms, one.said) for one in told] == [(10, 10, "Hel"), (20, 10, "f{}"), (30, 10, "")]
    assert told[2].raw == "data: [DONE]"


def test_anthropics_events_are_read_by_its_dialect():
    delta = b'event: content_block_delta\ndata: {"type": "content_block_delta", "delta": {"text": "Hello"}}'

    assert [one.said for one in pieces(streamed(delta, dialect="anthropic"))] == ["Hello"]


def test_of_many_pieces_the_first_are_shown_and_a_plain_answer_has_none():
    assert len(pieces(streamed(*[b"data: {}"] * 500))) == MOST_PIECES
    assert pieces(recorded("chat.json")) == []
