"""What kind of thing changes between two texts, and where it begins."""

import pytest

from dmrc.common_beginning import first_difference
from dmrc.lens.changes import CHANGES, changed_thing
from dmrc.lens.words import WORDS


@pytest.mark.parametrize(
    ("before", "now", "kind", "begins"),
    [
        ("It is 10:59 now.", "It is 11:00 now.", "clock", 6),
        ("It is 9:59 AM now.", "It is 10:00 AM now.", "clock", 6),
        ("On Sat, 28 Nov 2026 at 17:03 UTC", "On Sat, 28 Nov 2026 at 17:04 UTC", "clock", 3),
        ("Date: 2026-11-28.", "Date: 2026-11-29.", "date", 6),
        ("Today is Saturday.", "Today is Sunday.", "date", 9),
        ("at 20261128T170311Z,", "at 20261128T170312Z,", "clock", 3),
        ("log-20261128.txt", "log-20261129.txt", "date", 4),
        ("Time: 1764349391.25", "Time: 1764349402.5", "clock", 6),
        ("seen 4 minutes ago", "seen 12 minutes ago", "clock", 5),
        ("Turn 9 of many", "Turn 10 of many", "counter", 5),
        ("Used 99 tokens", "Used 1204 tokens", "token count", 5),
        ("Context left: 88%", "Context left: 71%", "token count", 14),
        ("It has 3 parts", "It has 90 parts", "number", 7),
        ("cch=a1b2c;", "cch=9f3d0e;", "random id", 4),
        ("nonce 3f9a1c22 end", "nonce 77ab0e91 end", "random id", 6),
        ("see a, b, c.", "see b, c, a.", "shuffled", 4),
        ("x\nbeta\nalpha\ngamma\n", "x\nalpha\nbeta\ngamma\n", "shuffled", 2),
        ("He likes tea.", "He likes walks.", "edited", 9),
        ("Numbers " + "1" * 9000, "Numbers " + "2" * 9000, "random id", 8),
    ],
)
def test_a_changed_thing_has_a_name_and_a_beginning(before: str, now: str, kind: str, begins: int) -> None:
    at = first_difference(before, now)

    assert changed_thing(before, now, at)[0] == kind
    if kind != "shuffled":
        assert changed_thing(before, now, at)[1] == begins
    else:
        assert at == begins


@pytest.mark.parametrize(
    ("one", "other", "at"),
    [("", "", 0), ("a", "", 0), ("abc", "abd", 2), ("abc", "abcd", 3), ("é" * 99, "é" * 98 + "e", 98)],
)
def test_the_first_difference_is_an_index_of_characters(one: str, other: str, at: int) -> None:
    assert first_difference(one, other) == at == first_difference(other, one)


def test_every_cause_has_its_words() -> None:
    assert set(CHANGES) == WORDS.keys()
