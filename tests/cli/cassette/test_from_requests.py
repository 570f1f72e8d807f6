"""`dmrc cassette from-requests`: what is on record becomes a cassette, and what cannot is named."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.exchange import Exchange, id_at
from tests.cassettes.exchanges import chat, exchange, streamed, whole
from tests.cli.cassette.conftest import Run

pytestmark = pytest.mark.fast


def at(minutes_ago: float, one: Exchange, **more: object) -> Exchange:
    from dataclasses import replace

    then = time.time() - 60 * minutes_ago
    return replace(one, id=id_at(then) + one.id[13:], received_at=then, **more)


@pytest.fixture
def on_record(tmp_path: Path) -> None:
    """An answer in a stream, one that is whole, and others that no cassette can have."""
    (tmp_path / "home").mkdir()
    database = ExchangeDatabase(tmp_path / "home" / "exchanges.sqlite3")
    france = exchange(chat("Capital of France?", stream=True), streamed(["Paris", "."]))
    database.insert_many(
        [
            at(90, exchange(chat("Long ago"), whole("Yes"))),
            at(9, france),
            at(8, exchange(chat("Capital of Italy?"), whole("Rome"))),
            at(7, exchange(chat("Slow down"), whole("")), status=429),
            at(6, exchange(chat("Too long"), whole("…")), response_truncated=True),
            at(5, exchange(chat("Not kept"), whole("")), request_body=b"", response_body=b""),
            at(4, exchange(chat("Too"), whole("")), status=503),
            at(3, exchange(chat("Hi"), whole("Hello")), service="web"),
            at(2, exchange(chat("Elsewhere"), whole("Yes")), project="other"),
        ]
    )
    database.close()


def test_a_cassette_is_made_of_the_record_and_what_is_left_out_is_named(
    run: Run, on_record: None, project: Path
) -> None:
    made = run("from-requests", "--service", "api", "--since", "1h")

    assert made.code == 0
    first, *left_out = made.out.splitlines()
    assert first == "cassettes/api.jsonl: 2 new"
    assert sorted(left_out) == [
        "  1 left out: it was answered with status 429",
        "  1 left out: it was answered with status 503",
        "  1 left out: its content is not on record",
        "  1 left out: the answer is too long to be kept whole",
    ]
    lines = (project / "cassettes" / "api.jsonl").read_text().splitlines()
    assert [json.loads(line)["request"]["body"]["messages"][0]["content"] for line in lines[1:]] == [
        "Capital of France?",
        "Capital of Italy?",
    ]
    assert run("check").code == 0


def test_a_cassette_that_is_there_is_extended(run: Run, on_record: None, project: Path) -> None:
    run("from-requests", "--service", "api", "--since", "1h")

    again = run("from-requests", "--service", "api")

    assert again.out.splitlines()[0] == "cassettes/api.jsonl: 1 new, 2 there already"


def test_each_service_of_the_project_gets_its_own(run: Run, on_record: None, project: Path) -> None:
    made = run("from-requests", "--json")

    assert {name: one["recorded"] for name, one in made.json.items()} == {"api": 3, "web": 1}


def test_a_dry_run_writes_nothing(run: Run, on_record: None, project: Path) -> None:
    made = run("from-requests", "--dry-run")

    assert "cassettes/web.jsonl: 1 new" in made.out
    assert made.err == "nothing is written\n"
    assert not (project / "cassettes").exists()


def test_another_project_and_another_directory_can_be_named(run: Run, on_record: None, project: Path) -> None:
    run("from-requests", "--project", "other", "-o", "elsewhere")

    assert "Elsewhere" in (project / "elsewhere" / "api.jsonl").read_text()


def test_the_last_ones_are_the_newest(run: Run, on_record: None, project: Path) -> None:
    assert list(run("from-requests", "--last", "1", "--json").json) == ["web"]


def test_nothing_that_matches_is_told(run: Run, on_record: None, project: Path) -> None:
    made = run("from-requests", "--service", "apu")

    assert made.code == 3
    assert "no request of project 'shop' is on record that matches" in made.err


def test_what_cannot_be_written_at_all_is_a_failure(run: Run, on_record: None, project: Path) -> None:
    made = run("from-requests", "--status", "5xx")

    assert made.code == 1
    assert made.out.splitlines() == ["cassettes/api.jsonl: nothing", "  1 left out: it was answered with status 503"]
