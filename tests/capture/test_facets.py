"""What the newest requests of a filter have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.facets import Facets, Percentiles, facets_of
from dmrc.capture.queries import ExchangeFilter
from dmrc.exchange import Exchange, id_at

ALL = ExchangeFilter()
FIRST = 1_700_000_000.0


def exchange(number: int) -> Exchange:
    return Exchange(
        id=f"{id_at(FIRST + number)}-7000-8000-{number:012x}",
        received_at=FIRST + number,
        method="POST",
        path="/v1/chat/completions",
        dialect="openai",
        operation="embedding" if number % 10 == 0 else "chat",
        project="shop",
        service=f"s{number % 3}",
        model_reference="docker.io/ai/m:latest",
        status=500 if number % 4 == 0 else 200,
        total_ms=float(number + 1),
        prompt_tokens=10,
        completion_tokens=2,
    )


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    database = ExchangeDatabase(tmp_path / "exchanges.sqlite3")
    database.insert_many([*map(exchange, range(99)), replace(exchange(99), total_ms=None, client_disconnected=True)])
    yield database.path
    database.close()


def test_values_are_counted_and_times_have_percentiles(path: Path) -> None:
    found = facets_of(path, ALL)

    assert (found.looked_at, found.has_more, found.oldest) == (100, False, FIRST)
    assert found.values["service"] == [("s0", 34), ("s2", 33), ("s1", 33)]
    assert found.values["model"] == [("docker.io/ai/m:latest", 100)]
    assert found.values["status"] == [(200, 75), (500, 25)]
    assert found.quick == {"errors": 25, "slow": 0, "cancelled": 1}
    assert (found.prompt_tokens, found.completion_tokens) == (1000, 200)
    assert found.total == Percentiles(50.0, 95.0)
    assert found.first_token == Percentiles()


def test_only_the_newest_are_looked_at_and_that_is_said(path: Path) -> None:
    found = facets_of(path, ALL, newest=10)

    assert (found.looked_at, found.has_more, found.oldest) == (10, True, FIRST + 90)


def test_a_facet_that_is_filtered_by_has_what_may_be_chosen_instead(path: Path) -> None:
    found = facets_of(path, ExchangeFilter(service="s1", operation="embedding"))

    assert found.looked_at == 3
    assert dict(found.values["service"]) == {"s0": 4, "s1": 3, "s2": 3}
    assert dict(found.values["operation"]) == {"chat": 30, "embedding": 3}
    assert found.values["status"] == [(200, 2), (500, 1)]


def test_words_and_models_are_looked_at_too(path: Path) -> None:
    assert facets_of(path, ExchangeFilter(model="docker.io/ai/m:latest", failed=True)).looked_at == 25
    assert facets_of(path, ExchangeFilter(text="nothing")) == Facets(
        values={name: [] for name in ("project", "service", "model", "status", "operation")},
        quick={"errors": 0, "slow": 0, "cancelled": 0},
    )


def test_without_a_record_there_is_nothing(tmp_path: Path) -> None:
    assert facets_of(tmp_path / "none.sqlite3", ALL) == Facets()
