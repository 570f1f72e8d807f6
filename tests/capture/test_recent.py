"""What the last hour of a record comes to."""

from dataclasses import replace
from pathlib import Path

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.recent import FailureReason, is_empty, read_recent
from dmrc.exchange import Exchange, id_at

_NOW = 1_800_000_000.0


def _exchange(seconds_ago: float, number: int = 0, **more: object) -> Exchange:
    at = _NOW - seconds_ago
    plain = Exchange(
        id=f"{id_at(at)}-7000-8000-{number:012x}", method="POST", path="/v1/chat/completions", operation="chat",
        received_at=at, status=200, project="shop", service="web", total_ms=100.0, prompt_tokens=30,
        completion_tokens=4,
    )  # fmt: skip
    return replace(plain, **more)  # type: ignore[arg-type]


def _planted(directory: Path, *exchanges: Exchange) -> Path:
    database = ExchangeDatabase(directory / "exchanges.sqlite3")
    database.insert_many(exchanges)
    database.close()
    return database.path


def test_requests_and_tokens_are_summed_by_part_and_service(tmp_path: Path) -> None:
    path = _planted(
        tmp_path,
        _exchange(3700, 1),
        _exchange(3599, 2),
        _exchange(30, 3),
        _exchange(20, 4, service="search", prompt_tokens=5000),
        _exchange(10, 5, status=500),
        _exchange(5, 6, project="diff:shop"),
    )

    hour = read_recent(path, _NOW - 3600, _NOW, 4)

    assert hour.requests == (1, 0, 0, 4)
    assert hour.failed == (0, 0, 0, 1)
    assert [(one.service, one.requests, one.failed) for one in hour.services] == [("search", 1, 0), ("web", 3, 1)]
    assert hour.services[1].prompt_tokens == (30, 0, 0, 60)
    assert hour.services[1].completion_tokens == (4, 0, 0, 8)


def test_percentiles_are_of_what_was_answered(tmp_path: Path) -> None:
    spans = [_exchange(number, number, total_ms=float(number)) for number in range(1, 102)]
    path = _planted(
        tmp_path, *spans, _exchange(5, 500, status=503, total_ms=90_000.0), _exchange(5, 501, total_ms=None)
    )

    hour = read_recent(path, _NOW - 3600, _NOW, 4)

    assert (hour.p50_ms, hour.p95_ms) == (51, 96)


def test_failures_are_grouped_by_reason_with_the_newest_words(tmp_path: Path) -> None:
    busy = {"status": 429, "error_type": "overloaded_error"}
    path = _planted(
        tmp_path,
        _exchange(50, 1, **busy, error_message="the queue was full"),
        _exchange(40, 2, **busy, error_message="the queue is full"),
        _exchange(30, 3, status=200, error_type="server_error", error_message="it broke"),
    )

    reasons = read_recent(path, _NOW - 3600, _NOW, 4).failures

    newest = _exchange(40, 2)
    assert reasons[0] == FailureReason(429, "overloaded_error", 2, "the queue is full", newest.id, newest.received_at)
    assert [(one.status, one.requests) for one in reasons] == [(429, 2), (200, 1)]


def test_without_a_record_there_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "exchanges.sqlite3"

    hour = read_recent(path, _NOW - 3600, _NOW, 4)

    assert is_empty(path)
    assert hour.requests == (0, 0, 0, 0)
    assert (hour.p50_ms, hour.services, hour.failures) == (None, (), ())
    assert not is_empty(_planted(tmp_path, _exchange(1)))
