"""Whatever comes: a cassette gives back the same bytes, and a key tells apart what a model would."""

import copy
import json
import tempfile
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmrc.cassettes.frames import frame_of, framed, holes_in
from dmrc.cassettes.interaction import Asked, Interaction, RecordedAnswer, RecordedPiece
from dmrc.cassettes.lines import asked_in, interaction_in, line_of
from dmrc.cassettes.matching import Matcher
from tests.cassettes.exchanges import chat, chunk, exchange, whole

pytestmark = pytest.mark.fast

BOUNDED = settings(max_examples=60, deadline=None)
TEXTS = st.text(max_size=20)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
CHUNKS = st.builds(lambda words: chunk({"content": words}), TEXTS)
SPACED = st.builds(lambda words, n: f"data: {json.dumps({'n': n, 'delta': words})}\n\n".encode(), TEXTS, st.integers())
PIECES = st.lists(st.binary(min_size=1, max_size=30) | CHUNKS | SPACED, min_size=1, max_size=12)
TIMES = st.floats(min_value=0, max_value=1e6).map(lambda ms: round(ms, 1))

# Words without digits: two of them are no two dates.
WORDS = st.text(st.characters(categories=("L", "P", "Z")), min_size=1, max_size=12)


def answered(pieces: list[tuple[float, bytes]], kind: str, body: dict) -> Interaction:
    asked = Asked(dialect="openai", operation="chat", path="/v1/chat/completions", model="llm", body=body)
    answer = RecordedAnswer(
        model="ai/x", status=200, content_type=kind, pieces=tuple(RecordedPiece(*p) for p in pieces)
    )
    return Interaction(asked, answer)


@BOUNDED
@given(PIECES, st.data())
def test_a_stream_of_any_bytes_comes_back_as_it_was(pieces: list[bytes], data: st.DataObject) -> None:
    times = data.draw(st.lists(TIMES, min_size=len(pieces), max_size=len(pieces)))
    one = answered(list(zip(times, pieces, strict=True)), "text/event-stream", {"messages": []})

    line = line_of(one)

    assert "\n" not in line
    assert interaction_in(line.encode().decode()) == one


@BOUNDED
@given(st.binary(min_size=1, max_size=60) | JSON.map(lambda value: json.dumps(value).encode()), JSON)
def test_any_body_comes_back_as_it_was(body: bytes, value: object) -> None:
    one = answered([(7.0, body)], "application/json", {"messages": [], "value": value, "huge": 10**30})

    back = interaction_in(line_of(one).encode().decode())

    assert back.answer == one.answer
    assert json.dumps(back.asked.body) == json.dumps(one.asked.body)
    assert asked_in(line_of(one)) == back.asked


@BOUNDED
@given(st.lists(st.tuples(TEXTS, st.integers()), min_size=3, max_size=10), st.booleans())
def test_a_frame_gives_back_each_piece_that_it_takes(values: list[tuple[str, int]], ascii_only: bool) -> None:
    pieces = [f"data: {json.dumps({'n': n, 'd': {'w': w}}, ensure_ascii=ascii_only)}\n\n" for w, n in values]

    frame = frame_of(pieces)

    if frame is None:
        assert len(set(pieces)) == 1  # nothing differs
        return
    for piece in pieces:
        holes = holes_in(frame, piece, ascii_only=ascii_only)
        assert holes is not None
        assert framed(frame, holes, ascii_only=ascii_only) == piece


def conversation(first: str, text: str, call: str, date: str, *, stream: bool) -> dict:
    calls = [{"id": call, "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}]
    return {
        "stream": stream,
        "temperature": 0.5,
        "messages": [
            {"role": "system", "content": f"{first} Today is {date}."},
            {"role": "user", "content": text},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": call, "content": "rain"},
        ],
    }


def key(body: dict) -> str:
    return Matcher().key(Asked.of(exchange(body, whole(""))))


def turned(value: object) -> object:
    if isinstance(value, dict):
        return {name: turned(entry) for name, entry in reversed(value.items())}
    return [turned(entry) for entry in value] if isinstance(value, list) else value


@BOUNDED
@given(
    WORDS, WORDS, st.text("abc123-_", min_size=1), st.dates(min_value=date(1900, 1, 1), max_value=date(2099, 12, 31))
)
def test_order_ids_dates_and_the_form_of_the_answer_do_not_count(first, text, call, day) -> None:
    one = conversation(first, text, "call-7", "2026-11-28 10:15:00", stream=False)
    two = conversation(first, text, call, f"{day.isoformat()} 23:59:59", stream=True)

    assert key(one) == key(turned(two))


@BOUNDED
@given(WORDS, WORDS, st.integers(0, 3), st.sampled_from(["content", "role"]))
def test_any_other_change_of_a_message_counts(text: str, other: str, number: int, field: str) -> None:
    one = conversation("Be brief.", text, "c1", "2026-11-28", stream=False)
    two = copy.deepcopy(one)
    two["messages"][number][field] = other

    assert (key(one) == key(two)) == (one["messages"][number][field] == other)


@BOUNDED
@given(st.integers(0, 4), st.integers(0, 4))
def test_the_order_of_messages_and_of_tools_counts(first: int, second: int) -> None:
    messages = [{"role": "user", "content": text} for text in "abcde"]
    tools = [{"type": "function", "function": {"name": text}} for text in "abcde"]
    swapped = [copy.deepcopy(one) for one in (messages, tools)]
    for one in swapped:
        one[first], one[second] = one[second], one[first]

    same = first == second
    assert (key({"messages": messages}) == key({"messages": swapped[0]})) == same
    assert (key(chat("Hi", tools=tools)) == key(chat("Hi", tools=swapped[1]))) == same


@BOUNDED
@given(st.binary(max_size=80))
def test_what_is_no_cassette_is_refused_in_one_line(data: bytes) -> None:
    from dmrc.cassettes.cassette import Cassette
    from dmrc.cassettes.errors import CassetteError

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "api.jsonl")
        path.write_bytes(data)

        with pytest.raises(CassetteError) as error:
            Cassette.open(path, Matcher())

    assert "api.jsonl" in str(error.value)
