"""The list of conversations: in parts, filtered, and found by walking indexes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter
from dmrc.conversations import listing
from dmrc.conversations.listing import conversations
from dmrc.conversations.record import ConversationRecord
from dmrc.errors import NotFoundError
from dmrc.exchange import Exchange
from tests.conversations.told import agent, assistant, exchange, user

ALL = ExchangeFilter()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[ExchangeDatabase]:
    with closing(ExchangeDatabase(tmp_path / "exchanges.sqlite3")) as database:
        yield database


def interleaved(count: int, turns: int) -> list[Exchange]:
    """Return conversations that go on side by side, each with so many requests, oldest first."""
    firsts = [exchange(number, 100.0 + number, [user("x")], None).id for number in range(count)]
    return [
        exchange(
            turn * count + number,
            100.0 + turn * count + number,
            [user(f"Number {number}")],
            assistant("Yes."),
            conversation_id=firsts[number],
        )
        for turn in range(turns)
        for number in range(count)
    ]


def listed(record: ConversationRecord, query: ExchangeFilter = ALL, limit: int = 3, **options: bool) -> list[list[str]]:
    """Return the parts of the list, with the questions in each."""
    parts, before = [], None
    while True:
        page = conversations(record, query, limit, before, **options)
        parts.append([one.question for one in page.conversations])
        before = page.before_id
        if before is None:
            return parts


def test_a_conversation_is_summed_up(database: ExchangeDatabase) -> None:
    database.insert_many(agent())

    (one,) = conversations(ConversationRecord(database.path), ALL, 10).conversations

    assert one.who == "shop/web, writer"
    assert (one.question, one.project, one.services, one.models) == (
        "Is it warm in Oslo?",
        "shop",
        ("web", "writer"),
        ("llm", "big"),
    )
    assert (one.requests, one.failed, one.prompt_tokens, one.completion_tokens) == (4, 1, 120, 36)
    assert (one.started_at, one.duration_ms) == (1_700_000_000.0, pytest.approx(601_500))
    assert one.id == agent()[0].id
    assert not one.is_more


def test_parts_follow_each_other_and_have_each_conversation_once(database: ExchangeDatabase) -> None:
    database.insert_many(interleaved(7, 5))

    parts = listed(ConversationRecord(database.path))

    assert parts == [
        ["Number 6", "Number 5", "Number 4"],
        ["Number 3", "Number 2", "Number 1"],
        ["Number 0"],
    ]


def test_parts_of_a_filter_have_each_conversation_once(database: ExchangeDatabase) -> None:
    told = interleaved(6, 4)
    database.insert_many(
        replace(one, service=f"s{number % 2}", status=500 if number in (3, 4, 9) else 200)
        for number, one in enumerate(told)
    )
    record = ConversationRecord(database.path)

    def flat(**conditions: object) -> list[str]:
        return [one[-1] for part in listed(record, ExchangeFilter(**conditions), 2) for one in part]

    assert flat(service="s0") == ["4", "2", "0"]
    assert flat(failed=True) == ["3", "4"]  # by their failed requests
    assert flat(failed=True, service="s1") == ["3"]
    assert flat(text="number 5") == ["5"]
    assert flat(text="number") == ["5", "4", "3", "2", "1", "0"]
    assert flat(project="shop", model="llm") == ["5", "4", "3", "2", "1", "0"]
    assert flat(since=121.0) == ["5", "4", "3"]
    assert flat(before=103.0) == ["2", "1", "0"]
    assert flat(project="none") == []


def test_single_requests_can_be_left_out(database: ExchangeDatabase) -> None:
    singles = [exchange(900 + n, 500.0 + n, [user("Alone")], assistant("Yes.")) for n in range(300)]
    database.insert_many([*interleaved(3, 2), *(replace(one, conversation_id=one.id) for one in singles)])
    record = ConversationRecord(database.path)

    assert listed(record, limit=2, without_singles=True) == [["Number 2", "Number 1"], ["Number 0"]]
    assert listed(record, ExchangeFilter(service="web"), without_singles=True)[0] == [
        "Number 2",
        "Number 1",
        "Number 0",
    ]
    assert sum(map(len, listed(record))) == 303


def test_a_request_of_no_conversation_is_one_by_itself(database: ExchangeDatabase) -> None:
    database.insert_many([exchange(1, 100.0, [user("Alone")], assistant("Yes."))])
    record = ConversationRecord(database.path)

    (one,) = conversations(record, ALL, 10).conversations

    assert (one.requests, one.question) == (1, "Alone")
    assert [found.id for found in record.requests(one.id, 10)] == [one.id]


def test_a_part_ends_after_many_requests_and_the_next_goes_on(
    database: ExchangeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a conversation of a million requests holds up nobody."""
    monkeypatch.setattr(listing, "MOST_WALKED", 400)
    monkeypatch.setattr(listing, "MOST_SUMMED", 50)
    database.insert_many([*interleaved(2, 1), *(replace(one, received_at=900.0) for one in _long())])
    record = ConversationRecord(database.path)

    first = conversations(record, ALL, 10)
    second = conversations(record, ALL, 10, first.before_id)
    third = conversations(record, ALL, 10, second.before_id)

    assert [(one.question, one.requests, one.is_more) for one in first.conversations] == [("Long", 50, True)]
    assert second.conversations == []
    assert [one.question for one in third.conversations] == ["Number 1", "Number 0"]
    assert third.before_id is None


def _long() -> Iterator[Exchange]:
    first = exchange(1000, 200.0, [], None).id
    for number in range(800):
        yield exchange(1000 + number, 200.0 + number, [user("Long")], assistant("x"), conversation_id=first)


def test_requests_of_a_conversation_come_in_parts_with_their_content(database: ExchangeDatabase) -> None:
    told = interleaved(2, 4)
    database.insert_many(told)
    record = ConversationRecord(database.path)
    own = told[::2]

    last = record.requests(own[0].id, 3)

    assert [one.id for one in last] == [one.id for one in own[1:]]
    assert last[0].request_body == own[1].request_body
    assert [one.id for one in record.requests(own[0].id, 3, last[0].id)] == [own[0].id]
    assert record.count(own[0].id) == 4


def test_a_conversation_is_found_by_any_of_its_requests(database: ExchangeDatabase) -> None:
    told = agent()
    database.insert_many(told)
    record = ConversationRecord(database.path)

    assert {record.find(text) for one in told for text in (one.id, one.id[-8:])} == {told[0].id}

    database.erase([told[0].id])  # as retention does
    assert {record.find(text) for text in (told[0].id, told[0].id[-8:], told[2].id)} == {told[0].id}
    with pytest.raises(NotFoundError, match="no request or conversation 'ffffffff' is recorded"):
        record.find("ffffffff")
    with pytest.raises(NotFoundError):
        record.find("%")


def test_the_version_changes_with_each_request_of_its_conversation(database: ExchangeDatabase) -> None:
    first, *others = agent()
    record = ConversationRecord(database.path)
    assert record.version() == record.version(first.id) == "0"
    database.insert_many([first])
    before, whole = record.version(first.id), record.version()

    database.insert_many([exchange(99, 1.0, [user("Another")], assistant("Yes."))])
    assert record.version(first.id) == before
    assert record.version() != whole

    database.insert_many(others[:1])
    assert record.version(first.id) != before


def test_a_record_that_is_not_there_has_no_conversations(tmp_path: Path) -> None:
    record = ConversationRecord(tmp_path / "none.sqlite3")

    assert conversations(record, ALL, 10).conversations == []
    assert record.requests("x", 10) == []
    assert record.count("x") == 0
