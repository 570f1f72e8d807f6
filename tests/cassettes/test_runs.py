"""A run answers what was recorded: in its pieces, in its order, in the form that is asked for."""

import json
from pathlib import Path

import pytest

from dmrc.cassettes.interaction import Asked
from tests.cassettes.exchanges import chat, chunk, exchange, streamed, whole
from tests.cassettes.running import asked, recorded, replay

pytestmark = pytest.mark.fast

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
COUNTED = {"include_usage": True}


def test_a_stream_comes_again_byte_for_byte_in_its_pieces_with_the_times_between_them(tmp_path: Path) -> None:
    pieces = streamed(["Grüße", ' "quoted"', "\n", " \u2028 end"])
    recorded(tmp_path, exchange(chat("Hello", stream=True), pieces, gap_ms=12.5))

    taken = replay(tmp_path).take("api", asked("Hello"), stream=True)

    assert [piece.data for piece in taken.answer.pieces] == pieces
    assert [piece.after_ms for piece in taken.answer.pieces] == [50.0, *[12.5] * (len(pieces) - 1)]
    assert taken.place == "api.jsonl:2"


def test_a_line_shows_the_words_of_a_stream_and_says_the_rest_once(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello", stream=True), streamed(["Once", " upon", " a", " time"])))

    head, line = (tmp_path / "api.jsonl").read_text().splitlines()

    assert json.loads(head) == {"cassette": 1, "service": "api"}
    assert '[10.0, "Once"], [10.0, " upon"], [10.0, " a"], [10.0, " time"]' in line
    assert line.count("chat.completion.chunk") == 3  # the frame, the beginning and the end


def test_equal_requests_are_answered_in_their_order_and_the_last_one_again(tmp_path: Path) -> None:
    recorded(tmp_path, *(exchange(chat("Throw a die"), whole(str(number))) for number in (4, 6)))
    run = replay(tmp_path)

    answers = []
    for _ in range(3):
        taken = run.take("api", asked("Throw a die"), stream=False)
        answers.append(json.loads(taken.answer.body)["choices"][0]["message"]["content"])
        taken.delivered()

    assert answers == ["4", "6", "6"]
    assert run.report()["services"]["api"]["repeated"] == 1
    assert run.report()["services"]["api"]["used"] == {"2": 1, "3": 2}


def test_an_answer_that_was_cut_is_given_to_the_retry(tmp_path: Path) -> None:
    recorded(tmp_path, *(exchange(chat("Throw a die"), whole(str(number))) for number in (4, 6)))
    run = replay(tmp_path)

    run.take("api", asked("Throw a die"), stream=False).released()
    retry = run.take("api", asked("Throw a die"), stream=False)

    assert retry.place == "api.jsonl:2"


def test_answers_that_come_back_are_given_again_in_their_order(tmp_path: Path) -> None:
    recorded(tmp_path, *(exchange(chat("Throw a die"), whole(str(number))) for number in (4, 6, 5)))
    run = replay(tmp_path)
    first, second, _ = (run.take("api", asked("Throw a die"), stream=False) for _ in range(3))

    second.released()
    first.released()

    again = [run.take("api", asked("Throw a die"), stream=False).place for _ in range(2)]
    assert again == ["api.jsonl:2", "api.jsonl:3"]


def test_a_piece_that_is_cut_inside_of_a_character_comes_again_so(tmp_path: Path) -> None:
    stream = b"".join(streamed(["Grüße"]))
    at = stream.index("ü".encode()) + 1
    recorded(tmp_path, exchange(chat("Hello", stream=True), [stream[:at], stream[at:]]))

    taken = replay(tmp_path).take("api", asked("Hello"), stream=True)

    assert [piece.data for piece in taken.answer.pieces] == [stream[:at], stream[at:]]


def test_a_tool_call_in_a_stream_can_be_had_whole(tmp_path: Path) -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    pieces = [
        chunk({"role": "assistant", "content": None}),
        chunk({"tool_calls": [call]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"Rome"}'}}]}),
        chunk({}, "tool_calls"),
        b"data: [DONE]\n\n",
    ]
    recorded(tmp_path, exchange(chat("Weather?", stream=True), pieces))

    taken = replay(tmp_path).take("api", asked("Weather?"), stream=False)

    (choice,) = json.loads(taken.answer.body)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Rome"}'}


def test_a_line_may_be_written_by_hand(tmp_path: Path) -> None:
    """Spaces, order of fields, an empty line, a new question and a new answer: nothing of it is written twice."""
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))
    path = tmp_path / "api.jsonl"
    head, line = path.read_text().splitlines()
    document = json.loads(line)
    document["request"]["body"]["messages"][0]["content"] = "Good morning"
    document["answer"]["body"]["choices"][0]["message"]["content"] = "Grüezi"
    edited = json.dumps({"answer": document["answer"], "request": document["request"]}, separators=(",", ":"))
    path.write_text(f"{head}\n\n{edited}")

    taken = replay(tmp_path).take("api", asked("Good morning"), stream=False)

    assert json.loads(taken.answer.body)["choices"][0]["message"]["content"] == "Grüezi"
    assert taken.place == "api.jsonl:3"
    assert replay(tmp_path).take("api", asked("Hello"), stream=False) is None


def test_pieces_that_differ_in_several_values_show_their_words(tmp_path: Path) -> None:
    lines = [
        json.dumps({"model": "m", "created_at": f"2026-11-28T10:00:0{at}Z", "message": {"content": word}}).encode()
        + b"\n"
        for at, word in enumerate(("Once", " upon", " ä", " time"))
    ]
    recorded(
        tmp_path,
        exchange(
            chat("Hello", stream=True),
            lines,
            path="/api/chat",
            dialect="ollama",
            response_headers={"content-type": "application/x-ndjson"},
        ),
    )

    text = (tmp_path / "api.jsonl").read_text()

    assert '[10.0, "2026-11-28T10:00:03Z", " time"]' in text
    assert '"ascii": true' in text
    one = Asked.of(exchange(chat("Hello"), whole(""), path="/api/chat", dialect="ollama"))
    assert [piece.data for piece in replay(tmp_path).take("api", one, stream=True).answer.pieces] == lines


def test_who_asks_for_a_stream_gets_what_was_recorded_as_one(tmp_path: Path) -> None:
    recorded(
        tmp_path,
        exchange(chat("Hello"), whole("whole")),
        exchange(chat("Hello", stream=True), streamed(["in", " pieces"])),
        exchange(chat("Hello"), whole("again")),
    )

    run = replay(tmp_path)
    places = [run.take("api", asked("Hello"), stream=stream).place for stream in (True, False, True, True)]

    assert places == ["api.jsonl:3", "api.jsonl:2", "api.jsonl:4", "api.jsonl:3"], "the last one as the first, again"


def test_an_answer_that_is_given_back_is_the_next_one(tmp_path: Path) -> None:
    recorded(tmp_path, *(exchange(chat("Hello"), whole(text)) for text in "abc"))

    run = replay(tmp_path)
    first, second = (run.take("api", asked("Hello"), stream=False) for _ in range(2))
    second.released()
    first.released()
    assert not run.is_under_way("api", run.key(asked("Hello")))

    places = [run.take("api", asked("Hello"), stream=False).place for _ in range(3)]
    assert places == ["api.jsonl:2", "api.jsonl:3", "api.jsonl:4"]


def test_only_who_asks_for_them_gets_the_counts_of_a_stream(tmp_path: Path) -> None:
    pieces = streamed(["Hi"])
    counts = chunk({}, "stop").replace(b'[{"finish_reason":"stop","index":0,"delta":{}}]', b"[]")
    counts = counts.replace(b'"id"', b'"usage":' + json.dumps(USAGE).encode() + b',"id"')
    plain, told = b"".join(pieces), b"".join([*pieces[:-1], counts, pieces[-1]])
    at = told.index(counts)
    recorded(
        tmp_path,
        exchange(chat("with", stream=True, stream_options=COUNTED), [told[:at], told[at:]]),
        exchange(
            chat("without", stream=True), [plain.replace(b'"id"', b'"timings":{"prompt_n":3,"predicted_n":2},"id"')]
        ),
    )

    run = replay(tmp_path)
    without = run.take("api", asked("with", stream=True), stream=True).answer
    given = run.take("api", asked("without", stream=True, stream_options=COUNTED), stream=True).answer

    assert without.body == plain
    last = json.loads(given.body.split(b"data: ")[-2])
    assert (last["choices"], last["usage"], last["id"]) == ([], USAGE, "chatcmpl-1")


def test_a_stream_that_begins_with_broken_json_gets_its_counts_as_well(tmp_path: Path) -> None:
    """What an upstream says is recorded as it is; an error that no plugin expects would be no miss, and no answer."""
    timed = chunk({"content": "Hi"}, timings={"prompt_n": 3, "predicted_n": 2})
    recorded(tmp_path, exchange(chat("hi", stream=True), [b'data: {"id": \n\n', timed, b"data: [DONE]\n\n"]))

    given = replay(tmp_path).take("api", asked("hi", stream=True, stream_options=COUNTED), stream=True).answer

    assert json.loads(given.body.split(b"data: ")[-2]) == {"choices": [], "usage": USAGE}
