"""`dmrc trace` on a store of its own: no daemon runs."""

from __future__ import annotations

import json
import re
from contextlib import closing

import pytest

from dmrc.capture.database import ExchangeDatabase
from tests.cli.requests.test_requests import on_a_terminal
from tests.conversations.told import agent, assistant, exchange, user
from tests.dmrc_command import Dmrc


@pytest.fixture
def recorded(dmrc: Dmrc) -> list[str]:
    """Put an agent's conversation and a single request on record; return their ids."""
    told = [*agent(), exchange(9, 1_700_000_900.0, [user("Alone \x1b[31m?")], assistant("Yes."))]
    dmrc.home.mkdir(exist_ok=True)
    with closing(ExchangeDatabase(dmrc.home / "exchanges.sqlite3")) as database:
        database.insert_many(told)
    return [one.id for one in told]


def unstyled(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text).replace("\r", "")


def test_a_conversation_is_told_request_by_request(dmrc: Dmrc, recorded: list[str]) -> None:
    shown = dmrc.ok("trace", recorded[2])

    assert [line.rstrip() for line in shown.splitlines()] == [
        "00000001  Is it warm in Oslo?",
        "4 requests · 1 failed · 120 tokens in · 36 out · 10 min 2 s",
        "      +0 ms  web → llm        500 ms        40→12  200   00000001",
        "             system     Use tools.",
        "             user       Is it warm in Oslo?",
        '             calls      weather {"city": "Oslo"} → {"degrees": -3}',
        "    +500 ms  app: weather     300 ms",
        "    +800 ms  web → llm        500 ms        40→12  200   00000002",
        "             assistant  No: -3 °C.",
        "    +1.40 s  writer → big     100 ms               503   00000003",
        "             system     Write.",
        "             user       Say it nicely: No: -3 °C.",
        "             error      the engine ended",
        " 9 min 58 s  later",
        "    +10 min  writer → big     1.50 s        40→12  200   00000004",
        "             assistant  It is a crisp -3 °C.",
    ]


def test_any_of_its_requests_names_it_in_short_too(dmrc: Dmrc, recorded: list[str]) -> None:
    texts = {dmrc.ok("trace", name) for id in recorded[:4] for name in (id, id[-8:])}

    assert len(texts) == 1


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
def test_a_terminal_has_bars_where_there_is_room_and_no_line_is_wider(
    dmrc: Dmrc, recorded: list[str], columns: int
) -> None:
    shown = on_a_terminal(dmrc, "trace", recorded[0], columns=columns)

    lines = unstyled(shown).splitlines()
    assert max(map(len, lines)) <= columns
    assert "\x1b[3" in shown
    bars = [line.partition("▏")[2].partition("▕")[0] for line in lines if "▏" in line]
    if columns >= 80:
        assert len(bars) == 5  # four requests, and the application's time
        assert len({len(bar) for bar in bars}) == 1
        first, app, second, *_ = (bar.rstrip() for bar in bars)
        assert re.fullmatch("▓*█+", first)
        assert app.lstrip() == "╌" * len(app.lstrip())
        assert len(first) <= len(app) <= len(second)
    else:
        assert bars == []


def test_without_colour_there_is_none(dmrc: Dmrc, recorded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    dmrc.environment["NO_COLOR"] = "1"

    assert "\x1b[3" not in dmrc.ok("trace", recorded[0])


def test_json_has_the_same_facts(dmrc: Dmrc, recorded: list[str]) -> None:
    document = json.loads(dmrc.ok("trace", recorded[0][-8:], "--json"))

    assert (document["conversation_id"], document["total"]) == (recorded[0], 4)
    first, second, third, _ = document["requests"]
    assert (first["service"], first["model"], first["parts"]) == ("web", "llm", {"prefill": 100.0, "decode": 400.0})
    assert first["calls"] == [
        {
            "id": "call_1",
            "name": "weather",
            "arguments": '{"city": "Oslo"}',
            "result": '{"degrees": -3}',
            "result_in": 2,
        }
    ]
    assert (second["repeated"], second["answers"][0]["text"]) == (3, "No: -3 °C.")
    assert (third["outcome"], third["error"]) == ("failed", "the engine ended")
    (app,) = document["app"]
    assert (app["tools"], round(app["end_ms"] - app["start_ms"])) == (["weather"], 300)


def test_the_last_requests_are_told_and_what_is_left_out_is_said(dmrc: Dmrc, recorded: list[str]) -> None:
    done = dmrc.run("trace", recorded[0], "--last", "2")

    assert done.stderr == "the last 2 of 4 requests; more with --last\n"
    assert "00000002" not in done.stdout
    assert "user       Say it nicely" in done.stdout


def test_a_single_request_is_a_conversation_and_its_words_are_only_text(dmrc: Dmrc, recorded: list[str]) -> None:
    shown = dmrc.ok("trace", recorded[4])

    assert "1 request · 40 tokens in · 12 out · 500 ms" in shown
    assert "Alone [31m?" in shown


def test_an_id_that_is_not_there_is_named(dmrc: Dmrc, recorded: list[str]) -> None:
    done = dmrc.run("trace", "ffffffff")

    assert done.returncode == 3
    assert done.stderr == "dmrc: no request or conversation 'ffffffff' is recorded. Run: dmrc requests\n"
