"""A time axis that draws work to scale and silence as a gap."""

from __future__ import annotations

import itertools

import pytest

from dmrc.conversations.axis import WIDTH, TimeAxis


def test_work_is_drawn_to_scale() -> None:
    axis = TimeAxis.of([(0, 500), (600, 1000)])

    assert axis.gaps == ()
    assert [axis.at(moment) for moment in (0, 250, 1000)] == [0, 25, WIDTH]


def test_hours_of_silence_are_a_gap_that_says_how_long_it_is() -> None:
    axis = TimeAxis.of([(0, 1000), (7_201_000, 7_202_000)])

    (gap,) = axis.gaps
    assert gap.text == "2 h"
    assert axis.pieces[0].width == axis.pieces[1].width == pytest.approx(48.5)
    assert axis.pieces[0].width < gap.at < axis.pieces[1].left
    assert axis.at(3_600_000) == pytest.approx(48.5)
    assert axis.at(7_202_000) == pytest.approx(WIDTH)


def test_very_many_gaps_leave_most_of_the_width_to_the_work() -> None:
    axis = TimeAxis.of([(number * 1e6, number * 1e6 + 100) for number in range(300)])

    assert len(axis.gaps) == 299
    assert sum(piece.width for piece in axis.pieces) == pytest.approx(70)


@pytest.mark.parametrize(
    ("length", "texts"),
    [
        (1000, ["0", "200 ms", "400 ms", "600 ms", "800 ms", "1 s"]),
        (9000, ["0", "2 s", "4 s", "6 s", "8 s"]),
        (7500, ["0", "2 s", "4 s", "6 s"]),
        (20_000, ["0", "5 s", "10 s", "15 s", "20 s"]),
        (600_000, ["0", "2 min", "4 min", "6 min", "8 min", "10 min"]),
    ],
)
def test_ticks_are_round_times(length: float, texts: list[str]) -> None:
    assert [mark.text for mark in TimeAxis.of([(0, length)]).ticks(5)] == texts


def test_ticks_do_not_run_into_each_other() -> None:
    axis = TimeAxis.of([(number * 1e6, number * 1e6 + 100) for number in range(300)])
    ticks = axis.ticks(8)

    assert all(after.at - before.at >= WIDTH / 16 for before, after in itertools.pairwise(ticks))


def test_a_request_without_a_time_is_still_on_the_axis() -> None:
    axis = TimeAxis.of([(0, 0)])

    assert axis.at(0) == 0
    assert [mark.text for mark in axis.ticks(5)] == ["0"]
