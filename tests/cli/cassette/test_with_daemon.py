"""`dmrc cassette` beside a daemon: its report is of now, and its record is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.gateway.replaying import MODEL, ReplayedShop

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def dmrc(gguf: Path, needs_engine: None) -> Iterator[Dmrc]:
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", gguf, MODEL)
        yield dmrc


def asked(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


def test_what_was_recorded_is_replayed_missed_edited_and_pruned(dmrc: Dmrc, tmp_path: Path) -> None:
    shop = ReplayedShop(dmrc, tmp_path / "shop")
    shop.up({"mode": "record"})
    shop.ask(**asked("one"))
    shop.ask(**asked("two"), stream=True)
    shop.up("./cassettes")
    shop.ask(**asked("one"))
    shop.ask(**asked("two, please"))

    missed = dmrc.run("cassette", "diff", cwd=shop.directory)

    assert missed.returncode == 1
    assert "-two\n+two, please" in missed.stdout
    assert (
        "1 request of the last run was not recorded" in dmrc.run("cassette", "prune", "-y", cwd=shop.directory).stderr
    )

    text = dmrc.ok("cassette", "edit", "web:3", "--get", cwd=shop.directory)
    (tmp_path / "new.yaml").write_text(text.replace("content: two", "content: two, please"))
    dmrc.ok("cassette", "edit", "web:3", "--set", tmp_path / "new.yaml", cwd=shop.directory)
    shop.up("./cassettes")

    assert shop.ask(**asked("two, please")).status == 200
    assert dmrc.ok("cassette", "prune", "-y", cwd=shop.directory) == "web.jsonl:2  one\n"
    made = dmrc.ok("cassette", "from-requests", cwd=shop.directory)
    assert made.splitlines() == [
        "cassettes/web.jsonl: 2 new",
        "  2 left out: it was answered from a cassette",
        "  1 left out: it was refused, since no cassette had it",
    ]
    assert dmrc.ok("cassette", "check", cwd=shop.directory) == ""
    dmrc.ok("down", cwd=shop.directory)
