"""Two texts side by side: nothing is lost, and no text takes long."""

from __future__ import annotations

import itertools
import time

import pytest

from dmrc.comparison.similarity import likeness
from dmrc.comparison.word_diff import TextPart, side_by_side

PROSE = [f"Line {number} says something of the weather, and of {number % 7} other things.\n" for number in range(1500)]
CHANGED = [line.replace("weather", "sea") if number % 5 == 0 else line for number, line in enumerate(PROSE)]
TEXTS = (
    *(
        "",
        " \n",
        "a",
        "The sky is blue.",
        "The sky was red, and the  sea\nblue.",
        "\n\n  The sky",
        "مرحبا بالعالم",
        "天空是蓝色的",
    ),
    *("the " * 3000, "the a " * 2000, "a\n" * 5000, "a b\n" * 5000, "".join(PROSE), "".join(CHANGED)),
)


def marked(parts: list[TextPart]) -> list[str]:
    return [one.text.strip() for one in parts if not one.is_common]


def test_words_that_are_in_one_only_are_marked() -> None:
    left, right = side_by_side("The sky is blue.", "The sky was red.")

    assert marked(left) == ["is blue"]
    assert marked(right) == ["was red"]


def test_spaces_are_no_difference() -> None:
    left, right = side_by_side("The sky is blue.", "The sky  is\nblue.")

    assert marked(left) == marked(right) == []


def test_a_language_without_spaces_is_compared_by_its_characters() -> None:
    left, right = side_by_side("天空是蓝色的", "天空是红色的")

    assert (marked(left), marked(right)) == (["蓝"], ["红"])
    assert likeness("天空是蓝色的", "天空是红色的") == pytest.approx(5 / 6)


def test_what_is_long_is_compared_by_lines_and_then_by_words() -> None:
    left, right = side_by_side("".join(PROSE), "".join(CHANGED))

    assert set(marked(left)) == {"weather"}
    assert set(marked(right)) == {"sea"}


def test_nothing_is_lost_and_nothing_takes_long() -> None:
    """difflib alone takes a quarter of a minute for a thousand times the same word."""
    for one, other in itertools.product(TEXTS, TEXTS):
        started = time.thread_time()

        left, right = side_by_side(one, other)

        assert "".join(part.text for part in left) == one
        assert "".join(part.text for part in right) == other
        assert likeness(one, other) <= 1.0
        assert time.thread_time() - started < 3
