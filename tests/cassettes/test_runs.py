"""A run records, and another one answers what was recorded."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from dmrc.cassettes.errors import CassetteError
from dmrc.cassettes.interaction import Asked
from dmrc.cassettes.runs import ReplayRun
from dmrc.project import Replay
from tests.cassettes.exchanges import chat, chunk, exchange, streamed, whole

pytestmark = pytest.mark.fast


def recorded(directory: Path, *exchanges, mode="record") -> dict:
    run = ReplayRun.load(Replay(directory=str(directory), mode=mode))
    for one in exchanges:
        run.add(one)
    run.flush()
    report = run.report()
    run.close()
    return report


def replay(directory: Path, **more) -> ReplayRun:
    return ReplayRun.load(Replay(directory=str(directory), mode="replay", **more))


def asked(text: str, **more) -> Asked:
    return Asked.of(exchange(chat(text, **more), whole("")))


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


def test_what_is_recorded_again_and_says_the_same_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    recorded(tmp_path, *(exchange(chat(text), whole(text.upper())) for text in ("one", "two")))
    before = (tmp_path / "api.jsonl").read_bytes()

    report = recorded(tmp_path, *(exchange(chat(text), whole(text.upper(), id="x")) for text in ("two", "one")))

    assert (tmp_path / "api.jsonl").read_bytes() == before
    assert report["services"]["api"]["unchanged"] == 2


def test_what_is_recorded_again_and_says_something_else_takes_its_place(tmp_path: Path) -> None:
    recorded(tmp_path, *(exchange(chat(text), whole(text.upper())) for text in ("one", "two", "three")))
    before = (tmp_path / "api.jsonl").read_text().splitlines()

    report = recorded(tmp_path, exchange(chat("two"), whole("2")), exchange(chat("four"), whole("4")))

    after = (tmp_path / "api.jsonl").read_text().splitlines()
    assert [after[index] for index in (0, 1, 3)] == [before[index] for index in (0, 1, 3)]
    assert '"content":"2"' in after[2].replace(" ", "")
    assert '"content":"4"' in after[4].replace(" ", "")
    assert (report["services"]["api"]["recorded"], report["services"]["api"]["replaced"]) == (2, 1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": 500}, "it was answered with status 500"),
        ({"status": 429}, "it was answered with status 429"),
        ({"client_disconnected": True}, "the caller hung up before the end"),
        ({"response_truncated": True}, "the answer is too long to be kept whole"),
        ({"request_truncated": True}, "the request is too long to be kept whole"),
        ({"annotations": {"fault": "cut"}}, "a fault was made on purpose"),
        ({"annotations": {"replayed": "api.jsonl:2"}}, "it was answered from a cassette"),
        ({"annotations": {"not_recorded": True}, "status": 422}, "it was refused, since no cassette had it"),
        ({"error_type": "server_error"}, "its answer broke off"),
        ({"response_body": b"", "chunk_offsets": ()}, "its content is not on record"),
    ],
)
def test_what_cannot_be_answered_again_is_left_out_and_counted(tmp_path: Path, change: dict, why: str) -> None:
    report = recorded(tmp_path, exchange(chat("Hello"), whole("Hi"), **change))

    assert report["services"]["api"]["left_out"] == {why: 1}
    assert not (tmp_path / "api.jsonl").exists()


def test_a_service_gets_nothing_of_another_one_and_who_is_not_known_all(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi"), service="web"))
    run = replay(tmp_path)

    assert run.take("api", asked("Hello"), stream=False) is None
    assert run.take(None, asked("Hello"), stream=False).place == "web.jsonl:2"


def test_a_miss_names_the_nearest_and_the_first_difference_with_both_texts(tmp_path: Path) -> None:
    recorded(
        tmp_path,
        exchange(chat("What is the capital of France?"), whole("Paris")),
        exchange(chat("Summarise the following text in 3 lines: whales"), whole("…")),
    )
    run = replay(tmp_path)

    miss = run.miss("api", asked("Summarise the following text in 4 lines: whales"))

    assert miss.message == (
        "service 'api' asked what is not recorded; the nearest is api.jsonl:3:"
        " message 1 (user) differs at character 33: recorded 'Summarise the following text in 3 lines: whales',"
        " asked 'Summarise the following text in 4 lines: whales'"
    )
    assert run.report()["misses"][0]["nearest"] == "api.jsonl:3"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"temperature": 0.5}, "temperature is not in it: 0.5"),
        (
            {"messages": [{"role": "user", "content": "Hello"}, {"role": "user", "content": "And?"}]},
            'message 2 (user) is not in it: "And?"',
        ),
        ({"messages": [{"role": "system", "content": "Hello"}]}, 'the role of message 1 differs: recorded "user"'),
        (
            {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]},
            'message 1 (system) is not in it: "Be brief."',
        ),
        ({"messages": []}, 'message 1 (user) is missing, where it has "Hello"'),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools is not in it: "),
    ],
)
def test_a_difference_is_named_wherever_it_is(tmp_path: Path, more: dict, told: str) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))

    run = replay(tmp_path)
    assert told in run.miss("api", asked("Hello", **more)).message


def test_another_model_or_route_is_named_where_nothing_else_is_recorded(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))
    run = replay(tmp_path)
    small = Asked.of(exchange(chat("Hello"), whole(""), model_key="small"))

    assert 'api.jsonl:2: the model differs: recorded "llm", asked "small"' in run.miss("api", small).message


def test_a_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))
    with (tmp_path / "api.jsonl").open("a") as file:
        file.write('{"request": {"body": []}}\n')

    with pytest.raises(CassetteError, match=r"api\.jsonl:3: the request cannot be read: 'operation' is missing"):
        replay(tmp_path)


def test_a_cassette_that_is_written_into_while_it_is_replayed_is_not_misread(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))
    run = replay(tmp_path)
    with (tmp_path / "api.jsonl").open("r+") as file:
        file.write("{" * 50)

    with pytest.raises(CassetteError, match="was changed while it is in use"):
        run.take("api", asked("Hello"), stream=False)


def test_what_is_recorded_is_answered_while_more_is_written_to_its_cassette(tmp_path: Path) -> None:
    """An answer that cannot be read goes to the model, in silence: lines that are added made all of them unreadable."""
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))
    run = ReplayRun.load(Replay(directory=str(tmp_path), mode="replay-or-record"))

    recorded(tmp_path, exchange(chat("Bye"), whole("Bye")))  # as the run itself does, in a thread

    assert run.take("api", asked("Hello"), stream=False).place == "api.jsonl:2"


def test_a_miss_is_told_although_its_cassette_was_changed(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))
    run = replay(tmp_path)
    with (tmp_path / "api.jsonl").open("r+") as file:
        file.write("{" * 50)

    miss = run.miss("api", asked("Bye"))

    assert "asked what is not recorded, and the nearest cannot be told" in miss.message
    assert [one["message"] for one in run.report()["misses"]] == [miss.message]


def test_who_is_not_known_gets_first_what_was_recorded_of_such(tmp_path: Path) -> None:
    for service in ("0web", None):
        recorded(tmp_path, exchange(chat("Hello"), whole("Hi"), service=service))

    assert replay(tmp_path).take(None, asked("Hello"), stream=False).place == "_anyone.jsonl:2"


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))

    with pytest.raises(CassetteError, match="is not a directory"):
        replay(tmp_path / "api.jsonl")


def test_answers_that_come_back_are_given_again_in_their_order(tmp_path: Path) -> None:
    recorded(tmp_path, *(exchange(chat("Throw a die"), whole(str(number))) for number in (4, 6, 5)))
    run = replay(tmp_path)
    first, second, _ = (run.take("api", asked("Throw a die"), stream=False) for _ in range(3))

    second.released()
    first.released()

    again = [run.take("api", asked("Throw a die"), stream=False).place for _ in range(2)]
    assert again == ["api.jsonl:2", "api.jsonl:3"]


def test_what_is_added_is_answered_from_then_on(tmp_path: Path) -> None:
    run = ReplayRun.load(Replay(directory=str(tmp_path), mode="replay-or-record"))
    assert run.take("api", asked("Hello"), stream=False) is None

    run.add(exchange(chat("Hello"), whole("Hi")))
    run.flush()

    assert run.take("api", asked("Hello"), stream=False).place == "api.jsonl:2"
    run.close()


def test_two_writers_of_one_cassette_lose_nothing(tmp_path: Path) -> None:
    runs = [ReplayRun.load(Replay(directory=str(tmp_path), mode="record")) for _ in range(2)]

    def record(run: ReplayRun, name: str) -> None:
        for number in range(50):
            run.add(exchange(chat(f"{name} {number}"), whole("Hi")))
            run.flush()

    threads = [threading.Thread(target=record, args=(run, name)) for run, name in zip(runs, "ab", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in runs:
        run.close()

    found = replay(tmp_path)
    for name in "ab":
        for number in range(50):
            assert found.take("api", asked(f"{name} {number}"), stream=False) is not None


def test_a_directory_that_cannot_be_written_is_told_and_what_waits_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "file"
    run = ReplayRun.load(Replay(directory=str(place), mode="record"))
    place.write_text("no directory")
    run.add(exchange(chat("Hello"), whole("Hi")))
    run.flush()
    assert "cannot be written" in run.report()["trouble"]

    place.unlink()
    run.close()

    assert run.report()["trouble"] is None
    assert (place / "api.jsonl").exists()


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


@pytest.mark.parametrize("end", [5, 30, -40, -2])
def test_a_line_that_was_cut_off_when_a_daemon_was_killed_costs_itself_alone(tmp_path: Path, end: int) -> None:
    recorded(tmp_path, exchange(chat("one"), whole("1")), exchange(chat("two"), whole("2")))
    path = tmp_path / "api.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:end])

    assert replay(tmp_path).take("api", asked("two"), stream=False) is None
    assert replay(tmp_path).take("api", asked("one"), stream=False) is not None
    recorded(tmp_path, exchange(chat("three"), whole("3")), mode="replay-or-record")

    after = path.read_text().splitlines(keepends=True)
    assert after[:2] == lines[:2]
    assert "three" in after[2]
    assert len(after) == 3


def test_what_is_recorded_is_on_disk_within_a_second_whoever_is_killed_then(tmp_path: Path) -> None:
    run = ReplayRun.load(Replay(directory=str(tmp_path), mode="record"))
    began = time.monotonic()
    run.add(exchange(chat("Hello"), whole("Hi")))

    while not (tmp_path / "api.jsonl").exists():
        assert time.monotonic() - began < 5
        time.sleep(0.02)
    seconds = time.monotonic() - began
    run.close()

    assert seconds < 2  # half a second and what a busy machine needs
    assert replay(tmp_path).take("api", asked("Hello"), stream=False) is not None


def test_requests_that_end_in_another_order_are_written_as_they_were_asked(tmp_path: Path) -> None:
    exchanges = [exchange(chat(f"Question {at}"), whole("Hi"), received_at=float(at)) for at in (3, 1, 2)]
    recorded(tmp_path, *exchanges)

    places = [replay(tmp_path).take("api", asked(f"Question {at}"), stream=False).place for at in (1, 2, 3)]

    assert places == ["api.jsonl:2", "api.jsonl:3", "api.jsonl:4"]


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


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
COUNTED = {"include_usage": True}


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


@pytest.mark.parametrize(
    ("above", "directory", "file"), [(0o755, 0o755, 0o644), (0o770, 0o770, 0o660), (0o700, 0o700, 0o600)]
)
def test_who_may_read_the_project_may_read_its_cassettes(tmp_path: Path, above: int, directory: int, file: int) -> None:
    """The daemon's own umask lets nobody else read what it writes, and cassettes are committed."""
    project = tmp_path / "project"
    project.mkdir()
    project.chmod(above)
    before = os.umask(0o077)
    try:
        recorded(project / "tests" / "cassettes", exchange(chat("hi"), whole("Hello.")))
    finally:
        os.umask(before)

    made = [project / "tests", project / "tests" / "cassettes", project / "tests" / "cassettes" / "api.jsonl"]
    assert [path.stat().st_mode & 0o777 for path in made] == [directory, directory, file]


def test_a_run_goes_on_while_another_one_adds_to_its_cassette(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")), exchange(chat("Bye"), whole("See you")))
    run = replay(tmp_path)
    recorded(tmp_path, exchange(chat("more"), whole("?")), mode="replay-or-record")

    assert run.take("api", asked("Bye"), stream=False).answer.body == b"".join(whole("See you"))
    assert run.take("api", asked("more"), stream=False) is None
