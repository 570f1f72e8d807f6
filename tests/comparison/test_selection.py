"""Which requests of the record are sent again."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.comparison.selection import select_ids
from dmrc.errors import NotFoundError
from tests.comparison.exchanges import exchange


def test_requests_are_chosen_by_their_ids_in_their_order_and_the_others_say_why(tmp_path: Path) -> None:
    database = ExchangeDatabase(tmp_path / "exchanges.sqlite3")
    one, failed, other = exchange(), exchange(status=500), exchange()
    database.insert_many([one, failed, other])

    chosen, left_out = select_ids(database, [other.id, failed.id, one.id])

    assert [found.then.id for found in chosen] == [other.id, one.id]
    assert [(found.then.id, found.why) for found in left_out] == [(failed.id, "it failed")]
    with pytest.raises(NotFoundError, match="no request 'nothing'"):
        select_ids(database, ["nothing"])
    database.close()


def test_no_more_is_read_into_memory_than_is_said(tmp_path: Path) -> None:
    database = ExchangeDatabase(tmp_path / "exchanges.sqlite3")
    large, small = exchange("word " * 1000), exchange()
    database.insert_many([large, small])

    chosen, left_out = select_ids(database, [small.id, large.id, small.id], most_bytes=2000)

    assert [found.then.id for found in chosen] == [small.id, small.id]
    assert [found.why for found in left_out] == ["is beyond the 2.00 kB that are compared at once"]
    database.close()
