from dataclasses import replace

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.neighbours import Neighbours, neighbours
from dmrc.capture.queries import ExchangeFilter
from tests.capture.recorded import asked, many


@pytest.fixture
def database(tmp_path):
    made = ExchangeDatabase(tmp_path / "record.sqlite")
    yield made
    made.close()


def test_neighbours_are_the_next_ones_that_the_filter_shows(database):
    web, other, failed, last = (
        replace(one, **changes)
        for one, changes in zip(
            many(4),
            ({"service": "web"}, {"service": "api"}, {"service": "web", "status": 500}, {"service": "web"}),
            strict=True,
        )
    )
    database.insert_many([web, other, failed, last])

    assert neighbours(database, ExchangeFilter(), other.id) == Neighbours(failed.id, web.id)
    assert neighbours(database, ExchangeFilter(service="web"), other.id) == Neighbours(failed.id, web.id)
    assert neighbours(database, ExchangeFilter(service="web"), web.id) == Neighbours(failed.id, None)
    assert neighbours(database, ExchangeFilter(failed=True), last.id) == Neighbours(None, failed.id)
    assert neighbours(database, ExchangeFilter(model="none"), web.id) == Neighbours(None, None)


def test_a_model_is_found_by_each_of_its_names(database):
    names = ({"model_key": "m"}, {"model_reference": "m"}, {"model_key": "other"}, {"model_requested": "m"})
    first, second, _, last = made = [replace(one, **name) for one, name in zip(many(4), names, strict=True)]
    database.insert_many(made)

    assert neighbours(database, ExchangeFilter(model="m"), first.id) == Neighbours(second.id, None)
    assert neighbours(database, ExchangeFilter(model="m"), second.id) == Neighbours(last.id, first.id)


def test_words_and_times_leave_out_neighbours_too(database):
    ids = (one.id for one in many(3))  # of one millisecond, new ids come in any order
    whale, fish, other = (asked(text, id=next(ids)) for text in ("a whale", "a fish", "a whale again"))
    database.insert_many([whale, fish, other])

    assert neighbours(database, ExchangeFilter(text="whale"), whale.id) == Neighbours(other.id, None)


def test_where_nothing_is_recorded_there_are_none(database):
    assert neighbours(database, ExchangeFilter(), "0190aaaa-0000-7000-8000-000000000000") == Neighbours(None, None)
