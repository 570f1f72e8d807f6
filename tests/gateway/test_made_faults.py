"""Faults that are made on purpose, in every dialect, by a real daemon and a scripted model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dmrc.event_stream import events
from tests.gateway.made_faults import ARGUMENTS, ASK, DIALECTS, MODEL, Faulty, faulty_project

pytestmark = pytest.mark.engine
FORMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
EACH = pytest.mark.parametrize("dialect", DIALECTS)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory, needs_engine: None) -> Iterator[Faulty]:
    """A project with a cassette, whose recording met faults as well."""
    with faulty_project(tmp_path_factory.mktemp("replayed"), name="again", replay={"mode": "record"}) as project:
        project.set("error,first=1")
        assert project.ask().status_code == 500
        for dialect in DIALECTS:
            for stream in (False, True):
                assert project.ask(dialect, stream=stream).status_code == 200
        project.dmrc.ok("unload", "--all")
        project.up(replay="./cassettes")
        yield project


def error_of(answer: httpx.Response, dialect: str) -> str:
    """Return what an error says, which must have the form of its dialect."""
    document = answer.json()
    if dialect == "ollama":
        return str(document["error"])
    assert document["error"]["type"]
    return str(document["error"]["message"])


def documents(answer: httpx.Response) -> list[dict[str, Any]]:
    """Return what an answer has: one document, or those of its events or lines, but [DONE]."""
    if "json" in answer.headers["content-type"]:
        return [json.loads(line) for line in answer.text.splitlines()]
    return [json.loads(one.data) for one in events(answer.content) if one.data != b"[DONE]"]


def arguments(answer: httpx.Response, dialect: str) -> list[Any]:
    """Return the arguments of the tool call, in each place of an answer that has all of them."""
    said = documents(answer)
    match dialect:
        case "openai":
            calls = [
                call["function"]
                for document in said
                for choice in document["choices"]
                for call in choice.get("delta", choice.get("message")).get("tool_calls") or []
            ]
            return ["".join(call.get("arguments") or "" for call in calls)]
        case "anthropic":
            if deltas := [one["delta"]["partial_json"] for one in said if "partial_json" in one.get("delta", {})]:
                return ["".join(deltas)]
            return [block["input"] for one in said for block in one.get("content", []) if block["type"] == "tool_use"]
        case "ollama":
            calls = [call["function"] for one in said for call in one["message"].get("tool_calls") or []]
            return [call["arguments"] for call in calls]
    pieces = [one["delta"] for one in said if one.get("type") == "response.function_call_arguments.delta"]
    items = [one["arguments"] for one in said if one.get("type") == "response.function_call_arguments.done"]
    outputs = [one.get("output") or one.get("response", {}).get("output") or [one.get("item", {})] for one in said]
    calls = [item for output in outputs for item in output if item.get("type") == "function_call"]
    return [*(["".join(pieces)] if pieces else []), *items, *filter(None, (call["arguments"] for call in calls))]


@EACH
def test_refusals_are_told_in_the_callers_words_and_marked(faulty: Faulty, dialect: str) -> None:
    faulty.set("rate_limit,first=1,retry_after=2", "error,first=1,status=503", "missing_model,first=1")

    limited, failed, missing, whole = (faulty.ask(dialect) for _ in range(4))

    assert [answer.status_code for answer in (limited, failed, missing, whole)] == [429, 503, 404, 200]
    assert limited.headers["retry-after"] == "2"
    for answer, kind in ((limited, "rate_limit"), (failed, "error"), (missing, "missing_model")):
        assert "made on purpose by dmrc" in error_of(answer, dialect)
        assert answer.headers["x-dmrc-fault"] == kind
        assert faulty.record(answer).annotations["fault"] == kind
    if dialect == "openai":
        assert missing.json()["error"]["code"] == "model_not_found"
    assert "x-dmrc-fault" not in whole.headers
    assert "fault" not in faulty.record(whole).annotations


@EACH
@FORMS
def test_arguments_of_tool_calls_lack_their_end(faulty: Faulty, dialect: str, stream: bool) -> None:
    unharmed = arguments(faulty.ask(dialect, stream=stream), dialect)
    faulty.set("malformed_tool_arguments")

    answer = faulty.ask(dialect, stream=stream)

    assert unharmed
    assert all((json.loads(one) if isinstance(one, str) else one) == ARGUMENTS for one in unharmed)
    assert (answer.status_code, answer.headers["x-dmrc-fault"]) == (200, "malformed_tool_arguments")
    harmed = arguments(answer, dialect)
    assert len(harmed) == len(unharmed)
    for text in harmed:
        assert text.replace(" ", "") == '{"city":"Bern"'
    assert faulty.record(answer).annotations["fault"] == "malformed_tool_arguments"


@FORMS
def test_where_no_tool_is_called_nothing_is_changed_and_the_record_says_so(faulty: Faulty, stream: bool) -> None:
    faulty.set("malformed_tool_arguments")

    without = faulty.ask(stream=stream, tools=None)

    assert without.status_code == 200
    assert "x-dmrc-fault" not in without.headers
    notes = faulty.record(without).annotations
    assert notes["fault_skipped"] == "malformed_tool_arguments: the request has no tools"
    assert "fault" not in notes


@EACH
def test_a_stream_is_cut_after_its_pieces_by_an_error_event(faulty: Faulty, dialect: str) -> None:
    unharmed = documents(faulty.ask(dialect, stream=True))
    faulty.set("cut,after=1")

    answer = faulty.ask(dialect, stream=True)

    said = documents(answer)
    assert answer.status_code == 200
    assert len(said) == 2 <= len(unharmed)
    assert "error" in said[-1]
    assert "the answer is cut after piece 1: made on purpose by dmrc" in json.dumps(said[-1])
    assert b"[DONE]" not in answer.content
    assert faulty.record(answer).annotations["fault"] == "cut"


@EACH
def test_an_answer_that_is_no_stream_and_is_cut_is_an_error(faulty: Faulty, dialect: str) -> None:
    faulty.set("cut")

    answer = faulty.ask(dialect)

    assert (answer.status_code, answer.headers["x-dmrc-fault"]) == (502, "cut")
    assert "the answer is cut: made on purpose by dmrc" in error_of(answer, dialect)


def test_a_stream_that_is_shorter_is_not_cut_and_the_record_says_so(faulty: Faulty) -> None:
    faulty.set("cut,after=1000")

    answer = faulty.ask(stream=True)

    assert answer.content.endswith(b"data: [DONE]\n\n")
    notes = faulty.record(answer).annotations
    assert "fault" not in notes
    assert notes["fault_skipped"].startswith("cut: the answer had ")


@FORMS
def test_the_first_piece_is_held_back(faulty: Faulty, stream: bool) -> None:
    unharmed = faulty.ask(stream=stream)
    faulty.set("slow_first_token,seconds=2")

    began = time.monotonic()
    answer = faulty.ask(stream=stream)

    assert 2 <= time.monotonic() - began < 10  # each of a stream's six pieces held back would be 12
    assert len(documents(answer)) == len(documents(unharmed))
    took = faulty.record(answer)
    assert ((took.first_token_ms if stream else took.total_ms) or 0) >= 2000


def test_a_failure_that_nobody_made_is_not_called_one(faulty: Faulty) -> None:
    faulty.set("slow_first_token")

    answer = faulty.ask(stream=True, model="local/none")

    assert answer.status_code == 404
    assert "x-dmrc-fault" not in answer.headers
    notes = faulty.record(answer).annotations
    assert "fault" not in notes
    assert notes["fault_planned"] == "slow_first_token"


def test_a_load_and_a_count_of_tokens_meet_no_fault(faulty: Faulty) -> None:
    faulty.set("error")
    key = {"authorization": f"Bearer {faulty.keys['api']}", "x-api-key": faulty.keys["api"]}

    loaded = httpx.post(f"{faulty.url}/api/chat", json={"model": MODEL}, headers=key, timeout=60)
    count = {"model": MODEL, "messages": ASK}
    counted = httpx.post(f"{faulty.url}/anthropic/v1/messages/count_tokens", json=count, headers=key, timeout=60)

    assert (loaded.status_code, counted.status_code) == (200, 200)
    faulty.up("web")
    assert faulty.ask(service="web").status_code == 200
    assert faulty.ask().status_code == 500


def drawn(faulty: Faulty, count: int = 16) -> list[str | None]:
    """Return what requests meet, one after the other."""
    return [faulty.ask(max_tokens=1, tools=None).headers.get("x-dmrc-fault") for _ in range(count)]


def test_the_same_seed_is_the_same_sequence_in_every_daemon_and_after_each_up(faulty: Faulty, replayed: Faulty) -> None:
    for one in (faulty, replayed):
        one.set("rate_limit=0.3", "error=0.3", seed=7)
    first = drawn(faulty)
    assert drawn(replayed) == first
    assert {None, "rate_limit", "error"} == set(first)
    faulty.set("rate_limit=0.3", "error=0.3", seed=7)
    assert drawn(faulty) == first
    faulty.set("rate_limit=0.3", "error=0.3", seed=8)
    assert drawn(faulty) != first

    faulty.give_back_to_the_file()
    faulty.up(faults="{faults: {seed: 7, rate_limit: 0.3, error: 0.3}}")
    told = faulty.dmrc.ok("config", cwd=faulty.directory)

    assert drawn(faulty) == first
    faulty.up()
    assert drawn(faulty, 3) == [None] * 3
    assert "# api: faults on purpose: rate_limit 30 %, retry_after 1; error 30 %, status 500; seed 7" in told


def test_a_plan_that_was_set_begins_anew_with_each_up(faulty: Faulty) -> None:
    faulty.set("rate_limit,first=1")
    assert drawn(faulty, 2) == ["rate_limit", None]

    faulty.up()

    assert drawn(faulty, 2) == ["rate_limit", None]


def test_what_is_made_is_told_wherever_one_looks(faulty: Faulty) -> None:
    said = faulty.set_by_command("api", "rate_limit=0.2,retry_after=2", "error,first=1")
    answer = faulty.ask()

    plan = "rate_limit 20 %, retry_after 2; error the first 1, status 500; seed 0"
    line = f"faults are made on purpose for faulty/api (dmrc faults): {plan}"
    assert f"faulty/api: {plan}. They end with dmrc down, or: dmrc faults clear -p faulty api" in said
    assert line in faulty.dmrc.ok("status")
    assert line in faulty.dmrc.run("ps").stderr
    assert line in faulty.up("web")
    faulty.record(answer)
    assert "made on purpose: error" in faulty.dmrc.ok("requests", "-n", "1")
    assert "made on purpose: error" in faulty.dmrc.ok("requests", "show", answer.headers["x-dmrc-exchange-id"])
    badge = '<span class="badge fault" title="made on purpose: error">fault: error</span>'
    assert badge in faulty.dmrc.page("/ui/requests")
    page = faulty.dmrc.page(f"/ui/requests/{answer.headers['x-dmrc-exchange-id']}")
    assert '<span class="badge fault">Fault: error</span>' in page


def test_what_was_set_is_listed_cleared_and_given_back_to_the_file(faulty: Faulty) -> None:
    faulty.set_by_command("--all", "error,first=1")
    faulty.set_by_command("web", "cut=0.5")
    faulty.ask()

    rows = faulty.planned()
    table = faulty.dmrc.ok("faults", "list")
    cleared = faulty.dmrc.run("faults", "clear", "web", cwd=faulty.directory)
    after = json.loads(faulty.dmrc.ok("faults", "list", "--json"))
    to_file = faulty.dmrc.run("faults", "clear", "--to-file", cwd=faulty.directory)

    assert [(row["service"], row["plan"]) for row in rows] == [
        (None, "error the first 1, status 500"),
        ("web", "cut 50 %, after 5; seed 0"),
    ]
    assert rows[0]["counts"] == {"api": {"requests": 1, "made": {"error": 1}}}
    assert "faulty/*" in table
    assert "1 of 1 requests" in table
    assert [row["service"] for row in after] == [None]
    assert "faulty/*" in cleared.stderr
    assert "no faults are made on purpose in project faulty" in to_file.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["api", "rate_limt=1"], "the plan has no field 'rate_limt' (did you mean 'rate_limit'?)"),
        (["api", "cut=2"], "the plan.cut.share must be a number above 0 and up to 1, not 2"),
        (["api", "cut=0.5,after"], "'cut=0.5,after' has 'after'. Write NAME=VALUE, each name once"),
        (["api", "cut", "cut"], "fault cut is there twice"),
        (["api", "cut", "seed=7"], "a seed is no fault. Write --seed 7"),
        (["api"], "no fault is named. There are: rate_limit"),
        (["--all"], "no fault is named. There are: rate_limit"),
        (["cut=0.5,after=2"], "no service is named. Write dmrc faults set SERVICE cut=0.5,after=2, or --all for all"),
        (["apl", "cut"], "project 'faulty' has no service 'apl' (did you mean 'api'?)"),
        (["api", "cut", "-p", "fault"], "project 'fault' is not up (did you mean 'faulty'?)"),
    ],
)
def test_a_mistake_is_one_line(faulty: Faulty, words: list[str], message: str) -> None:
    done = faulty.dmrc.run("faults", "set", *words, cwd=faulty.directory)

    assert done.returncode in (2, 3)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@FORMS
@EACH
def test_a_replay_meets_the_same_faults(replayed: Faulty, dialect: str, stream: bool) -> None:
    replayed.set("malformed_tool_arguments,first=1", "rate_limit,first=1", "cut,first=1,after=1")

    limited, cut, harmed, unharmed = (replayed.ask(dialect, stream=stream) for _ in range(4))

    assert (limited.status_code, limited.headers["x-dmrc-fault"]) == (429, "rate_limit")
    assert (cut.status_code, cut.headers["x-dmrc-fault"]) == (200 if stream else 502, "cut")
    assert "made on purpose" in cut.text
    assert harmed.headers["x-dmrc-fault"] == "malformed_tool_arguments"
    assert "x-dmrc-fault" not in unharmed.headers
    assert "x-dmrc-recorded" in unharmed.headers
    assert {one.replace(" ", "") for one in arguments(harmed, dialect)} == {'{"city":"Bern"'}
    assert '{"city":"Bern"' not in {str(one) for one in arguments(unharmed, dialect)}
    notes = replayed.record(harmed).annotations
    assert (notes["fault"], notes["replayed"]) == ("malformed_tool_arguments", harmed.headers["x-dmrc-recorded"])


def test_what_failed_on_purpose_is_in_no_cassette(replayed: Faulty) -> None:
    recorded = [json.loads(line) for line in (replayed.directory / "cassettes/api.jsonl").read_text().splitlines()[1:]]

    assert len(recorded) == 2 * len(DIALECTS)
    assert {each["answer"]["status"] for each in recorded} == {200}
    assert "on purpose" not in json.dumps(recorded)
