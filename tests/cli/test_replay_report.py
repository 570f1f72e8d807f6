"""What a run with cassettes came to, as a person reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmrc.cli.projects.setup.replay_report import report_lines
from dmrc.fields import JsonObject


def report(mode: str, misses: list[JsonObject], directory: Path | str = "/far/tapes", **counts: object) -> JsonObject:
    services = {"api": {"file": f"{directory}/api.jsonl", **counts}}
    return {"project": "shop", "mode": mode, "services": services, "misses": misses}


def test_a_recording_says_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = report(
        "record", [], tmp_path / "cassettes", recorded=3, replaced=1, unchanged=10, left_out={"broken off": 1}
    )

    assert list(report_lines(found)) == [
        "cassettes/api.jsonl: 13 recorded (10 as before, 1 with another answer, 2 new)",
        "cassettes/api.jsonl: 1 left out: broken off",
    ]


def test_a_replay_says_what_was_answered() -> None:
    lines = report_lines(report("replay", [], used={"a": 3, "b": 9}, repeated=2))

    assert list(lines) == [
        "api: 12 answered from /far/tapes/api.jsonl (2 of them more often than recorded: the last answer again)"
    ]


def test_a_miss_shows_both_texts() -> None:
    difference = {"place": "message 2 (user)", "at": 11, "recorded": "…one word", "asked": "…two words"}
    miss = {"service": "api", "nearest": "api.jsonl:14", "difference": difference, "message": "no"}

    assert list(report_lines(report("replay", [miss, {"service": None, "message": "nothing is recorded"}]))) == [
        "api: 0 answered from /far/tapes/api.jsonl",
        "2 requests were not recorded, and refused:",
        "  api: the nearest is api.jsonl:14, which differs in message 2 (user), at character 12",
        "    recorded: …one word",
        "    asked:    …two words",
        "  a caller without a service: nothing is recorded",
    ]
