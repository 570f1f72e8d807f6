"""What is kept to join requests goes with them, and stays small."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.joining import kinds
from dmrc.capture.joining.evidence import Evidence, evidence_of
from dmrc.capture.joining.local_memory import ConversationMemory, LocalMemory, ToolRun
from dmrc.capture.recorder import Recorder
from dmrc.capture.writing import ReadExchange
from tests.capture.joining.talks import Talks, called, said, user

TEXT = " ".join(f"The whale of the year {year} was seen by the captain near the harbour." for year in range(1700, 1740))


@pytest.fixture
def talks(tmp_path: Path) -> Iterator[Talks]:
    made = Talks(tmp_path / "exchanges.sqlite3")
    with closing(made.database):
        yield made


def stored(talks: Talks) -> list[int]:
    """Return the kinds of all evidence that is stored."""
    with closing(sqlite3.connect(talks.path)) as connection:
        return [kind for (kind,) in connection.execute("SELECT kind FROM evidence ORDER BY kind")]


def test_what_is_deleted_leaves_no_evidence(talks: Talks) -> None:
    exchanges = [
        talks.exchange(
            {"messages": [user("Hi"), said("Yes?"), user(f"{number} {TEXT}")]},
            f"{TEXT} {number}",
            session_id="s",
            trace_id="1" * 32,
        )
        for number in range(4)
    ]
    for one in exchanges:
        talks.join(one)
    assert {kinds.SESSION, kinds.TRACE, kinds.CHAIN, kinds.TURN} <= set(stored(talks))

    talks.database.erase([exchanges[0].id, exchanges[1].id])
    assert talks.database.trim(max_count=0) == 2

    assert stored(talks) == []


def test_a_short_first_answer_leaves_two_rows_and_is_known_again_behind_other_messages(talks: Talks) -> None:
    answer = "A whale is about as long as three red buses"
    first = talks.exchange({"messages": [user("How long is a whale, roughly?")]}, answer)
    talks.join(first)

    assert stored(talks) == [kinds.CHAIN, kinds.FRAGMENT]

    again = [user("Before: nothing"), said("Good."), user("How long is a whale, roughly?"), said(answer), user("Sure?")]
    assert talks.join(talks.exchange({"messages": again}, "Yes.")) == first.id


def test_a_failure_is_forgotten_after_an_hour(talks: Talks) -> None:
    for hours, left in ((2, []), (0, [kinds.FAILED])):
        talks.now -= hours * 3600
        failed = talks.exchange({"messages": [user("How large?")]}, {"error": {"message": "busy"}}, status=503)
        talks.now += hours * 3600

        talks.database.insert_read([ReadExchange(failed, None, evidence_of(failed))])

        assert stored(talks) == left


def test_an_answer_leaves_few_fragments_and_they_are_forgotten_after_an_hour(talks: Talks) -> None:
    talks.now -= 7200
    for number in range(3):
        talks.database.insert_read([_read(talks, f"Tell me {number}", TEXT.replace("whale", f"whale {number}"))])
    talks.now += 7200

    talks.database.insert_read([_read(talks, "Now", TEXT)])

    assert stored(talks).count(kinds.FRAGMENT) == 6
    assert stored(talks).count(kinds.CHAIN) == 4


def test_what_a_thousand_say_alike_is_looked_up_as_fast_as_what_one_says(talks: Talks) -> None:
    greeting = "Hello, how can I help you today? There is a lot that I know about whales and harbours."
    talks.database.insert_read([_read(talks, "hi", greeting) for _ in range(1000)])
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    exchange = talks.exchange({"messages": [user("hi"), said(greeting), user("More")]}, "Yes.")
    connection = talks.database._open_writer()
    connection.set_progress_handler(count, 100)
    talks.database.insert_read([ReadExchange(exchange, None, evidence_of(exchange))])
    connection.set_progress_handler(None, 0)

    assert talks.database.get(exchange.id).conversation_id == exchange.id
    assert steps < 200  # of a hundred instructions each


def test_an_exchange_that_comes_twice_is_joined_once(talks: Talks) -> None:
    failed = talks.exchange({"messages": [user("How large?")]}, {"error": {"message": "busy"}}, status=503)
    for _ in range(2):
        talks.database.insert_read([ReadExchange(failed, None, evidence_of(failed))])

    again = talks.exchange({"messages": [user("How large?")]}, "Large.")
    talks.database.insert_read([ReadExchange(again, None, evidence_of(again))])

    assert talks.database.get(again.id).conversation_id == failed.id


def test_content_that_is_not_recorded_leaves_no_hash_of_it(talks: Talks) -> None:
    exchange = talks.exchange({}, "", request_body=b"", response_body=b"", session_id="s")

    assert evidence_of(replace(exchange, session_id=None)) is None
    evidence = evidence_of(exchange)
    assert evidence is not None
    assert [kind for kind, _ in evidence.says] == [kinds.SESSION]


def test_evidence_is_the_same_after_its_way_to_the_process(talks: Talks) -> None:
    evidence = evidence_of(talks.exchange({"messages": [user("hi"), said(TEXT), user(TEXT)]}, called("call_1a2b3c4d5")))

    assert evidence is not None
    read = Evidence.from_json(evidence.to_json())
    assert read is not None
    assert (list(read.says), list(read.repeats)) == (list(evidence.says), list(evidence.repeats))
    assert list(read.fragments) == list(evidence.fragments)
    assert (read.new_fragments, read.is_short, read.has_history) == (evidence.new_fragments, False, True)
    assert Evidence.from_json(None) is None


@pytest.mark.process
@pytest.mark.parametrize("is_filtered", [False, True])
def test_the_recorder_joins_what_it_reads_and_what_a_plugin_has_seen(talks: Talks, is_filtered: bool) -> None:
    """A plugin's filter has it read in the daemon; what the filter changed is what counts."""
    first = talks.exchange({"messages": [user("Where is Ada?")]}, TEXT)
    second = talks.exchange({"messages": [user("Where is Ada?"), said(TEXT), user("And now?")]}, "Here.")
    alone = talks.exchange({"messages": [user("Where is Bob?")]}, "There.")
    recorder = Recorder(talks.path)
    if is_filtered:
        recorder.filters.append(lambda one: replace(one, request_body=one.request_body.replace(b"Ada", b"Somebody")))

    for one in (first, second, alone):
        recorder.record(one, document=ParsedBodies().whole(one.request_body))
    assert recorder.flush(60)
    recorder.close()

    assert talks.conversations() == {first.id: first.id, second.id: first.id, alone.id: alone.id}


def test_the_memory_without_a_file_is_bounded(talks: Talks) -> None:
    memory = LocalMemory(most=3)
    exchanges = [talks.exchange({"messages": [user(f"{n}")]}, f"{TEXT} {n}") for n in range(5)]
    for one in exchanges:
        evidence = evidence_of(one)
        assert evidence is not None
        memory.remember(one, one.id, evidence.says)

    assert [memory.extent(one.id, 2) is not None for one in exchanges] == [False, False, True, True, True]
    last = evidence_of(exchanges[-1])
    assert last is not None
    assert {speaker.conversation for _, speaker in memory.speakers(last.says[:1])} == {exchanges[-1].id}


def test_a_plugin_hears_which_tools_ran_between(talks: Talks) -> None:
    memory = ConversationMemory()
    calls = called("call_1a2b3c4d5")
    calls["tool_calls"] += called("call_6a7b8c9d0", "check")["tool_calls"]
    first = talks.exchange({"messages": [user("Weather?")]}, calls)
    talks.now += 3
    results = [{"role": "tool", "tool_call_id": id, "content": "sunny"} for id in ("call_1a2b3c4d5", "call_6a7b8c9d0")]
    second = talks.exchange({"messages": [user("Weather?"), calls, *results]}, "Sunny.")

    begun, joined = memory.join(first), memory.join(second)

    assert begun is not None
    assert joined is not None
    assert (begun.conversation_id, begun.tools, joined.conversation_id) == (first.id, (), first.id)
    ended = {"began_at": first.received_at + 0.5, "ended_at": second.received_at}
    assert set(joined.tools) == {
        ToolRun(name="find", call_id="call_1a2b3c4d5", **ended),
        ToolRun(name="check", call_id="call_6a7b8c9d0", **ended),
    }


def _read(talks: Talks, question: str, answer: str) -> ReadExchange:
    exchange = talks.exchange({"messages": [user(question)]}, answer)
    return ReadExchange(exchange, None, evidence_of(exchange))
