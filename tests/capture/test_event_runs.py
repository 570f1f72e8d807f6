"""What is read of a stream in runs of like events is what is read of it event by event."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmrc.capture import bodies
from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.documents import Documents
from dmrc.capture.event_runs import read_through
from dmrc.capture.reading import facts_of, text_of_response
from dmrc.capture.redaction import Redactor
from dmrc.capture.texts import texts_of
from tests.capture.recorded import SSE, recorded

SECRET = "tok_8f3kd92mmQ"
TEXTS = st.sampled_from(["a", " whale", "", 'say "no"', "\n", "\\", '\\"', '"}}]}', "\u00fc\U0001f433", "{", "\u2028"])
EVENTS = st.lists(
    st.tuples(st.sampled_from(["content", "reasoning_content", "role"]), TEXTS, st.sampled_from([1, 1, 1, 2])),
    max_size=30,
)


def chunk(name: str, text: str, created: int = 1) -> dict[str, object]:
    choice = {"finish_reason": None, "index": 0, "delta": {name: text}}
    return {"choices": [choice], "created": created, "id": "c", "object": "chat.completion.chunk"}


def stream(*said: object, between: str = "data: {}\n\n", **options) -> bytes:
    return "".join([*(between.format(json.dumps(one, **options)) for one in said), "data: [DONE]\n\n"]).encode()


@pytest.mark.slow("300 streams")
@settings(max_examples=300, deadline=None)
@given(
    EVENTS,
    st.sampled_from(["data: {}\n\n", "data:{}\r\n\r\n", "event: delta\ndata: {}\n\n", "data: {} \n: note\n\n"]),
    st.sampled_from([(", ", ": "), (",", ":")]),
    st.booleans(),
    st.integers(0, 60),
)
def test_runs_say_what_the_events_say(said, between, separators, is_ascii, cut):
    body = stream(*(chunk(*one) for one in said), between=between, separators=separators, ensure_ascii=is_ascii)
    body = body[: len(body) - cut]
    exchange = recorded("chat.sse", response_body=body, response_headers=SSE, chunk_offsets=((1.0, 0), (9.0, 200)))

    runs = read_through(body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "read_through", Documents.of)
        facts, text = facts_of(exchange, ParsedBodies()), text_of_response(exchange)
    assert facts_of(exchange, ParsedBodies()) == facts
    assert text_of_response(exchange) == text
    assert sorted(texts_of(runs) or ()) == sorted(texts_of(Documents.of(body)) or ())


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": "ha", "reasoning_content": "ha"},
        {"content": "ha", "tool_calls": [{"index": 0, "function": {"arguments": "ha"}}]},
    ],
)
def test_an_event_with_two_texts_is_read_for_itself(delta):
    """Of the one that was the same as in the event before, a word was lost."""
    body = stream(*[{"choices": [{"index": 0, "delta": delta}]}] * 3)
    exchange = recorded("chat.sse", response_body=body)

    assert len(read_through(body).documents) == 3
    assert text_of_response(exchange).count("ha") == 6


def test_two_answers_in_one_event_keep_their_words():
    choices = [{"index": index, "delta": {"content": "ha"}} for index in range(2)]
    body = stream(*[{"choices": choices}] * 3)

    assert text_of_response(recorded("chat.sse", response_body=body)).count("ha") == 6


def test_halves_of_an_escape_are_not_made_one():
    body = stream(*[chunk("content", piece) for piece in ("a", "HALF", "fc", "b")]).replace(b"HALF", rb"\u00")

    assert texts_of(read_through(body)) == texts_of(Documents.of(body))


def test_spaces_behind_an_event_are_none_of_it():
    """A chunk that began with one was taken for the one with the first token."""
    body = stream(chunk("content", "a"), chunk("content", "b"), between="data: {} \n\n")
    end = body.index(b" \n\n")

    (document,) = read_through(body).documents[:1]

    assert document.first_end == end == Documents.of(body).documents[0].end


def test_tokens_of_an_answer_are_one_document():
    body = stream(*(chunk("content", f" {word}") for word in range(50)))

    (document,) = read_through(body).documents

    assert document.value["choices"][0]["delta"]["content"] == "".join(f" {word}" for word in range(50))
    assert (document.events, document.first_end) == (50, body.index(b"\n\n"))
    assert body[document.end :] == b"\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize(
    "pieces", [[SECRET], list(SECRET), ["It is tok_8f", "3kd92mmQ."], ["a", "\n", SECRET[:4], SECRET[4:]]]
)
def test_a_secret_in_a_run_is_masked_in_its_events(pieces):
    body = stream(*(chunk("content", piece) for piece in ["Well,", *pieces, "there"]))
    exchange = recorded("chat.sse", response_body=body)

    kept = Redactor([SECRET]).masked(exchange, ParsedBodies())

    assert SECRET not in text_of_response(kept)
    assert "[redacted]" in text_of_response(kept)
    assert kept.response_body.count(b"data: ") == len(pieces) + 3


def test_a_secret_beside_the_text_of_a_run_is_masked():
    body = stream(*({**chunk("content", piece), "id": SECRET} for piece in "abc"))
    exchange = recorded("chat.sse", response_body=body)

    assert SECRET.encode() not in Redactor([SECRET]).masked(exchange, ParsedBodies()).response_body


@pytest.mark.parametrize(
    "line", ['{"a": NaN}', '{"delta": "\\ud83d"}', '{"n": 123456789012345678901234567890}', '{"cut']
)
def test_what_is_not_entirely_json_is_read_as_ever(line):
    body = stream(chunk("content", "a"), chunk("content", "b")) + f"data: {line}\n\n".encode()

    read, exact = read_through(body), Documents.of(body)

    assert sorted(texts_of(read) or ()) == sorted(texts_of(exact) or ())
    assert repr(read.documents[-1].value) == repr(exact.documents[-1].value)
