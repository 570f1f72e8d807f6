"""Sums over the record."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.filters import read_filter
from dmrc.capture.queries import ExchangeFilter
from dmrc.capture.totals import ServiceTotals, Sums, Totals, together
from dmrc.exchange import Exchange, id_at

NOW = 1_760_000_000.0


def exchange(at: float, number: int, **more: object) -> Exchange:
    fields = {"method": "POST", "path": "/v1/chat/completions", "operation": "chat", "status": 200, **more}
    return Exchange(id=f"{id_at(at)}-7000-8000-{number:012d}", received_at=at, **fields)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    body = b'{"messages": [{"role": "user", "content": "about whales"}]}'
    database = ExchangeDatabase(tmp_path / "exchanges.sqlite")
    database.insert_many(
        [
            exchange(NOW - 90, 1, project="shop", service="web", prompt_tokens=10, completion_tokens=5, total_ms=100),
            exchange(
                NOW - 80, 2, project="shop", service="web", status=500, total_ms=300, model_requested="a", node="box"
            ),
            exchange(
                NOW - 10, 3, project="shop", service="job", total_ms=50, request_body=body, model_key="a", node="box"
            ),
            exchange(NOW - 1, 4, completion_tokens=7, completion_tokens_per_second=70.0),
        ]
    )
    database.close()
    return database.path


def test_each_span_has_its_own_sums(path: Path) -> None:
    parts = Totals(path).over_time(ExchangeFilter(), NOW - 100, NOW, 10)

    assert [part.requests for part in parts] == [0, 1, 1, 0, 0, 0, 0, 0, 0, 2]
    assert parts[1] == Sums(1, 0, 10, 5, None, None, 100.0)
    assert parts[2].failed == 1
    assert parts[9].tokens_per_second == 70.0


@pytest.mark.parametrize(
    ("query", "requests"),
    [
        (ExchangeFilter(project="shop"), 3),
        (ExchangeFilter(project="shop", service="job"), 1),
        (ExchangeFilter(failed=True), 1),
        (ExchangeFilter(model="a"), 2),
        (ExchangeFilter(node="box"), 2),
        (ExchangeFilter(node="box", failed=True), 1),
        (ExchangeFilter(text="WHALES"), 1),
        (ExchangeFilter(text="sharks"), 0),
        (ExchangeFilter(text='" OR *'), 0),
        (ExchangeFilter(slower_ms=100), 2),
        (ExchangeFilter(status=(500, 599), since=NOW - 85), 1),
    ],
    ids=str,
)
def test_sums_are_of_what_the_filter_shows(query: ExchangeFilter, requests: int, path: Path) -> None:
    assert together(Totals(path).over_time(query, NOW - 100, NOW, 7)).requests == requests


def test_spans_together_weigh_their_means_by_requests() -> None:
    whole = together([Sums(3, 1, 4, 5, 10.0, None, 100.0), Sums(1, 0, 1, 1, 30.0, None, 500.0), Sums()])

    assert whole == Sums(4, 1, 5, 6, 15.0, None, 200.0)


def test_a_service_has_its_sums_its_slowest_and_its_last(path: Path) -> None:
    totals = Totals(path)

    web = totals.of_service("shop", "web", NOW - 100, NOW, 10)
    assert [part.requests for part in web.parts] == [0, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert (together(web.parts).failed, web.p95_ms, web.last_at) == (1, 300.0, NOW - 80)
    assert web.last_id is not None
    assert web.last_id.endswith("2")
    old = totals.of_service("shop", "web", NOW - 5, NOW, 1)
    assert (old.parts[0].requests, old.p95_ms, old.last_at) == (0, None, NOW - 80)
    assert totals.of_service("shop", None, NOW - 100, NOW, 1).last_id is None


def test_of_a_hundred_requests_the_ninety_fifth_is_told(tmp_path: Path) -> None:
    database = ExchangeDatabase(tmp_path / "exchanges.sqlite")
    database.insert_many(
        [exchange(NOW - number, number, project="shop", total_ms=float(number)) for number in range(1, 101)]
    )
    database.close()

    assert Totals(database.path).of_service("shop", None, NOW - 200, NOW, 1).p95_ms == 95.0


def test_a_record_that_is_not_there_has_no_sums(tmp_path: Path) -> None:
    totals = Totals(tmp_path / "none.sqlite")

    assert totals.over_time(ExchangeFilter(), 0, 1, 2) == [Sums(), Sums()]
    assert totals.of_service("shop", "web", 0, 1, 1) == ServiceTotals([Sums()], None, None, None)


def test_what_is_missing_or_empty_is_no_condition() -> None:
    assert read_filter({"errors": False, "project": None}) == ExchangeFilter()
    query = read_filter({"errors": "1", "slow": "500ms", "status": "4XX", "since": "1h"})

    assert (query.failed, query.slower_ms, query.status) == (True, 500.0, (400, 499))
    assert query.since == pytest.approx(time.time() - 3600, abs=5)
