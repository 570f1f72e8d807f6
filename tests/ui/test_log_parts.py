"""Parts of a log, for a page that asks again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmrc.ui.log_parts import log_part


def test_what_was_written_since_is_returned(tmp_path: Path) -> None:
    log = tmp_path / "runner-a.log"
    log.write_text("one\ntwo\n")

    text, place = log_part(log, "", 1)
    with log.open("a") as file:
        file.write("three\n")

    assert text == "two\n"
    assert log_part(log, place, 1)[0] == "three\n"


@pytest.mark.parametrize("offset", ["9" * 5000, "-1", "\u0663", "", "1e3", "99"])
def test_a_place_that_is_none_is_answered_with_the_end(tmp_path: Path, offset: str) -> None:
    log = tmp_path / "runner-a.log"
    log.write_text("one\ntwo\n")

    assert log_part(log, f"{log.stat().st_ino}:{offset}", 1)[0] == "two\n"
