"""`dmrc cassette prune` and `diff`: what the last run used, and what it asked in vain."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cassettes.exchanges import chat, exchange, whole
from tests.cli.cassette.conftest import Run, record, replayed

pytestmark = pytest.mark.fast

FRANCE = exchange(chat("Capital of France?"), whole(""))
ITALY = exchange(chat("Capital of Italy?", temperature=0), whole(""))
CHANGED = exchange(chat("Capital of Italy, please?", temperature=0), whole(""))
SPAIN = exchange(chat("Capital of Spain?"), whole("Madrid"))


def test_prune_removes_what_was_not_used_and_leaves_other_services_alone(
    run: Run, cassettes: Path, project: Path
) -> None:
    kept = (cassettes / "api.jsonl").read_text().splitlines()[:2]
    replayed(project, FRANCE)

    pruned = run("prune", "--yes")

    assert pruned.code == 0
    assert pruned.out == "api.jsonl:3  Capital of Italy?\n"
    assert "web: the last run used nothing of it" in pruned.err and "1 request removed" in pruned.err
    assert (cassettes / "api.jsonl").read_text().splitlines() == kept
    assert "Hello" in (cassettes / "web.jsonl").read_text()


def test_a_dry_run_removes_nothing(run: Run, cassettes: Path, project: Path) -> None:
    before = (cassettes / "api.jsonl").read_bytes()
    replayed(project, FRANCE)

    pruned = run("prune", "--dry-run", "--json")

    assert pruned.json == [{"place": "api.jsonl:3", "asked": "Capital of Italy?"}]
    assert (cassettes / "api.jsonl").read_bytes() == before


def test_what_a_run_recorded_it_has_used(run: Run, cassettes: Path, project: Path) -> None:
    replayed(project, ITALY, SPAIN, mode="replay-or-record")

    assert run("prune", "--dry-run").out == "api.jsonl:2  Capital of France?\n"


def test_a_run_that_used_all_leaves_all(run: Run, cassettes: Path, project: Path) -> None:
    replayed(project, FRANCE, ITALY)

    assert "used all that is recorded" in run("prune").err


def test_nobody_is_asked_where_nobody_is(run: Run, cassettes: Path, project: Path) -> None:
    replayed(project, FRANCE)

    pruned = run("prune")

    assert pruned.code == 2
    assert "Add --yes" in pruned.err


def test_prune_refuses_without_a_run(run: Run, cassettes: Path, project: Path) -> None:
    pruned = run("prune", "--yes")

    assert pruned.code == 3
    assert "project 'shop' has not been replayed here. Run: dmrc up --replay" in pruned.err


def test_prune_refuses_after_misses_unless_it_is_forced(run: Run, cassettes: Path, project: Path) -> None:
    replayed(project, FRANCE, CHANGED)

    assert "1 request of the last run was not recorded" in run("prune", "--yes").err
    assert run("prune", "--yes", "--force").out == "api.jsonl:3  Capital of Italy?\n"


def test_prune_refuses_where_a_cassette_has_changed_since(run: Run, cassettes: Path, project: Path) -> None:
    replayed(project, FRANCE)
    record(cassettes, SPAIN)

    pruned = run("prune", "--yes")

    assert pruned.code == 2
    assert "has changed since the last run. Replay again" in pruned.err


def test_diff_shows_all_that_differs_from_the_nearest(run: Run, cassettes: Path, project: Path) -> None:
    replayed(project, FRANCE, CHANGED)

    told = run("diff")

    assert told.code == 1
    assert told.out.splitlines() == [
        "api  not recorded, nearest: api.jsonl:3",
        "@@ -1,4 +1,4 @@",
        " openai chat, model llm",
        " [user]",
        "-Capital of Italy?",
        "+Capital of Italy, please?",
        " temperature: 0",
    ]
    (one,) = run("diff", "--json").json
    assert (one["service"], one["nearest"]) == ("api", "api.jsonl:3")
    assert one["request"]["body"]["temperature"] == 0


def test_diff_of_a_run_that_missed_nothing_says_so(run: Run, cassettes: Path, project: Path) -> None:
    replayed(project, FRANCE)

    told = run("diff")

    assert (told.code, told.out) == (0, "")
    assert "found all that was asked" in told.err


def test_diff_without_anything_near_shows_what_was_asked(run: Run, cassettes: Path, project: Path) -> None:
    replayed(project, exchange(chat("Hi"), whole(""), service="other"))

    assert run("diff").out.splitlines()[:3] == [
        "other  not recorded, nothing like it is recorded",
        "+openai chat, model llm",
        "+[user]",
    ]


def test_without_a_project_it_is_the_run_of_the_daemon_that_was_started_with_cassettes(
    run: Run, cassettes: Path, project: Path
) -> None:
    (project / "compose.yaml").unlink()
    assert "no compose file here, and dmrc serve has not replayed" in run("diff").err
    replayed(project, CHANGED)
    reports = project / "home" / "replays"
    (reports / "shop.json").rename(reports / "_nobody.json")

    assert "+Capital of Italy, please?" in run("diff").out


def test_check_finds_a_value_of_the_projects_own_secrets(run: Run, cassettes: Path, project: Path) -> None:
    record(cassettes, exchange(chat("It is correct-horse-7, I say"), whole("Ok")))

    checked = run("check")

    assert checked.code == 1
    assert "api.jsonl:4: a secret is in the request at messages.0.content (corr…)" in checked.out
