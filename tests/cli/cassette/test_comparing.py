"""`dmrc cassette diff` of two recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cassettes.exchanges import chat, exchange, streamed, whole
from tests.cli.cassette.conftest import Run, record

pytestmark = pytest.mark.fast


@pytest.fixture
def again(tmp_path: Path) -> Path:
    """Another recording: one answer says something else, one request has changed, one is as it was."""
    directory = tmp_path / "again"
    record(
        directory,
        exchange(chat("Capital of France?", stream=True), streamed(["The capital is Paris", ", in France."])),
        exchange(chat("Capital of Spain?\nBe brief.", temperature=0), whole("Madrid")),
        exchange(chat("Hi"), whole("Hello"), service="web"),
    )
    return directory


def test_two_recordings_that_say_the_same_do_not_differ(run: Run, cassettes: Path) -> None:
    compared = run("diff", cassettes, cassettes)

    assert (compared.code, compared.out) == (0, "")


def test_what_was_added_what_is_gone_and_what_is_answered_otherwise(run: Run, cassettes: Path, again: Path) -> None:
    compared = run("diff", cassettes, again)

    assert compared.code == 1
    assert compared.out.splitlines() == [
        "api:2→2  another answer",
        "@@ -1,2 +1,2 @@",
        " [assistant]",
        "-The capital is Paris.",
        "+The capital is Paris, in France.",
        "",
        "api:3  only in the second",
        "+openai chat, model llm",
        "+[user]",
        "+Capital of Spain?",
        "+Be brief.",
        "+temperature: 0",
        "",
        "api:3  only in the first",
        "-openai chat, model llm",
        "-[user]",
        "-Capital of Italy?",
        "-temperature: 0",
    ]


def test_the_same_as_json(run: Run, cassettes: Path, again: Path) -> None:
    compared = run("diff", cassettes / "api.jsonl", again / "api.jsonl", "--json")

    assert [(one["kind"], one["old_line"], one["new_line"]) for one in compared.json] == [
        ("answer", 2, 2),
        ("added", None, 3),
        ("gone", 3, None),
    ]


def test_a_cassette_of_a_service_that_is_new_is_all_added(run: Run, cassettes: Path, again: Path) -> None:
    (cassettes / "web.jsonl").unlink()

    kinds = {one["service"]: one["kind"] for one in run("diff", cassettes, again, "--json").json}

    assert kinds["web"] == "added"


def test_cassettes_of_tests_are_compared_where_they_lie(run: Run, cassettes: Path, again: Path, tmp_path: Path) -> None:
    for name, directory in (("old", cassettes), ("new", again)):
        (tmp_path / name / "test_shop").mkdir(parents=True)
        (directory / "web.jsonl").rename(tmp_path / name / "test_shop" / "api.jsonl")
    path = tmp_path / "new" / "test_shop" / "api.jsonl"
    path.write_text(path.read_text().replace('"Hello"', '"Goodbye"'))

    assert run("diff", "old", "new").out.splitlines()[0] == "test_shop/api:2→2  another answer"


def test_one_alone_differs_from_nothing(run: Run, cassettes: Path) -> None:
    assert "Name two" in run("diff", cassettes).err
    assert "Name two directories, or two files" in run("diff", cassettes, cassettes / "api.jsonl").err
