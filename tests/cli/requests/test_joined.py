"""`dmrc requests` of one conversation, session or trace."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

import pytest

from dmrc.capture.database import ExchangeDatabase
from tests.capture.recorded import many
from tests.dmrc_command import Dmrc

_TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def three(dmrc: Dmrc) -> list[str]:
    """Put three requests on record, the first two of which are a conversation; return their ids."""
    first, second, third = many(3)
    dmrc.home.mkdir(exist_ok=True)
    joined = {"conversation_id": first.id, "trace_id": _TRACE}
    with closing(ExchangeDatabase(dmrc.home / "exchanges.sqlite3")) as database:
        database.insert_many(
            [replace(first, **joined), replace(second, **joined), replace(third, session_id="thursday")]
        )
    return [first.id, second.id, third.id]


def test_requests_are_chosen_by_what_joins_them(dmrc: Dmrc, three: list[str]) -> None:
    first, second, third = three

    def shown(*options: str) -> list[str]:
        return [one["id"] for one in json.loads(dmrc.ok("requests", "--json", *options))]

    both = [first, second]
    assert shown("--conversation", second[-8:]) == both  # any of its requests names it, in short too
    assert shown("--conversation", first) == both
    assert shown("--trace", _TRACE) == both
    assert shown("--session", "thursday") == [third]
    assert shown("--session", "friday") == []


def test_a_conversation_that_is_not_there_is_named(dmrc: Dmrc, three: list[str]) -> None:
    refused = dmrc.run("requests", "--conversation", "ffffffff")

    assert refused.returncode != 0
    assert refused.stderr.strip() == "dmrc: no request or conversation 'ffffffff' is recorded. Run: dmrc requests"


def test_what_completes_is_not_followed_by_conversation(dmrc: Dmrc, three: list[str]) -> None:
    refused = dmrc.run("requests", "--follow", "--conversation", three[0])

    assert refused.returncode == 2
    assert "--follow does not go with --grep, --before or --conversation" in refused.stderr
