"""Cassettes that grow, that are changed under a daemon, and what cuts a recording off."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.polling import eventually
from tests.replay.echoing import Echo
from tests.replay.stage import Side, Stage, pair
from tests.replay.test_plugins import say
from tests.small_disk import fill, small_disk

pytestmark = pytest.mark.process


def test_what_is_not_recorded_is_asked_and_added(stage: Stage, echo: Echo) -> None:
    side, models = stage.recording, {"llm": echo.model}
    side.begin("record", models)
    known = say(side, "known")
    side.report()
    before = (stage.cassettes / "web.jsonl").read_bytes()

    side.begin("replay-or-record", models)
    assert say(side, "known") == known
    new = say(side, "new")
    assert new == "1: new"
    service = side.report()["services"]["web"]
    side.begin("replay-or-record", models)

    assert (say(side, "new"), say(side, "known")) == (new, known)
    assert service["recorded"] == 1
    assert (stage.cassettes / "web.jsonl").read_bytes().startswith(before)


def test_what_was_answered_just_now_is_replayed(stage: Stage, echo: Echo) -> None:
    """A recording is on disk within a second, and the next command looks for it sooner."""
    side, models = stage.recording, {"llm": echo.model}
    side.begin("record", models)
    said = say(side, "known")

    side.begin("replay", models)

    assert say(side, "known") == said


def test_recording_again_leaves_what_says_the_same_byte_for_byte(stage: Stage, echo: Echo) -> None:
    """The server says another thing each time, so what is asked for once in each run is another answer."""
    side, models = stage.recording, {"llm": echo.model}
    side.begin("record", models)
    for words in ("first", "second", "third"):
        say(side, words)
    side.report()
    before = (stage.cassettes / "web.jsonl").read_text().splitlines()

    side.begin("record", models)
    echo.say_again("first")
    say(side, "first")
    say(side, "second")
    say(side, "fourth")
    side.report()
    after = (stage.cassettes / "web.jsonl").read_text().splitlines()

    assert after[:2] == before[:2], "the header, and what says the same"
    assert after[3] == before[3], "what was not asked for"
    assert "2: second" in after[2]
    assert "fourth" in after[4]
    assert len(after) == 5


def test_a_daemon_that_is_killed_loses_only_what_it_has_not_written_by_itself(echo: Echo, tmp_path: Path) -> None:
    with pair() as daemons:
        stage = daemons.stage(tmp_path)
        side = stage.recording
        side.begin("record", {"llm": echo.model})
        for number in range(20):
            say(side, f"early {number}")
        path = stage.cassettes / "web.jsonl"
        # Nobody asks for it: the header and 20 lines.
        eventually(
            lambda: path.exists() and path.read_bytes().count(b"\n") == 21, "what was recorded on disk", seconds=10
        )
        say(side, "late")

        side.dmrc.daemon().send_signal(signal.SIGKILL)
        eventually(lambda: not side.dmrc.processes(), "an end of the daemon")
        stage.replaying.begin("replay", {"llm": echo.model})

        assert [say(stage.replaying, f"early {number}") for number in range(20)]
        assert stage.replaying.report()["misses"] == []
        assert len(stage.lines()) >= 20


def warnings_of(side: Side) -> str:
    return side.dmrc.ok("logs")


@pytest.mark.tmpfs
def test_a_full_disk_is_told_and_costs_no_answer(stage: Stage, echo: Echo) -> None:
    side = stage.recording
    with small_disk(stage.cassettes):
        side.begin("record", {"llm": echo.model})
        say(side, "before")
        side.report()
        filler = fill(stage.cassettes)

        assert say(side, "x" * 100_000).endswith("x")
        eventually(lambda: "web.jsonl" in warnings_of(side), "a word of it in the log")
        filler.unlink()
        say(side, "after")
        side.report()

        asked = [line["request"]["body"]["messages"][0]["content"][:6] for line in stage.lines()]
        assert asked[0] == "before"
        assert asked[-1] == "after"


@pytest.mark.tmpfs
def test_a_cassette_that_cannot_be_written_is_told_when_the_recording_begins(stage: Stage, echo: Echo) -> None:
    side = stage.recording
    with small_disk(stage.cassettes):
        side.begin("record", {"llm": echo.model})
        say(side, "known")
        side.report()
        side.begin(None, {"llm": echo.model})
        subprocess.run(["mount", "-o", "remount,ro", stage.cassettes], check=True)

        stage.replaying.begin("replay", {"llm": echo.model})
        assert say(stage.replaying, "known")
        with pytest.raises(AssertionError, match="cassettes"):
            side.begin("record", {"llm": echo.model})


def replayed_and_changed(stage: Stage, echo: Echo) -> tuple[Path, str, str]:
    """Begin a replay; return its cassette, what it answers about whales, and what it shall hold from now on."""
    stage.recording.begin("record", {"llm": echo.model})
    said = say(stage.recording, "whales")
    stage.recording.report()
    stage.replaying.begin("replay", {"llm": echo.model})
    assert say(stage.replaying, "whales") == said
    path = stage.cassettes / "web.jsonl"
    return path, said, path.read_text().replace(said, "checked out")


def test_a_cassette_that_is_replaced_under_a_daemon_is_read_by_the_next_run(stage: Stage, echo: Echo) -> None:
    """As git does it: the file of the name is another one, and a run goes on with what it began with."""
    path, said, changed = replayed_and_changed(stage, echo)
    path.unlink()
    path.write_text(changed)

    assert say(stage.replaying, "whales") == said
    stage.replaying.begin("replay", {"llm": echo.model})

    assert say(stage.replaying, "whales") == "checked out"


def test_a_cassette_that_is_written_into_under_a_daemon_is_told(stage: Stage, echo: Echo) -> None:
    """As some editors do it: where a line was there may be half of another one."""
    import openai

    path, _, changed = replayed_and_changed(stage, echo)
    path.write_text(changed)

    with pytest.raises(openai.APIStatusError, match="was changed") as raised:
        say(stage.replaying, "whales")
    assert raised.value.status_code == 422
    assert "web.jsonl" in stage.replaying.report()["misses"][0]["message"]
    stage.replaying.begin("replay", {"llm": echo.model})

    assert say(stage.replaying, "whales") == "checked out"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "web.jsonl"),
        ('{"cassette": 99, "service": "web"}\n', "99"),
        ('{"cassette": 1, "service": "web"}\n{"request": {\n', "web.jsonl:2"),
        ('{"cassette": 1, "service": "web"}\n<<<<<<< HEAD\n', "web.jsonl:2"),
    ],
    ids=["no-header", "newer", "cut", "merge-conflict"],
)
def test_a_cassette_that_cannot_be_read_is_named(stage: Stage, echo: Echo, content: str, word: str) -> None:
    (stage.cassettes / "web.jsonl").write_text(content)

    with pytest.raises(AssertionError) as raised:
        stage.replaying.begin("replay", {"llm": echo.model})

    assert word in str(raised.value)
    assert "Traceback" not in str(raised.value)
