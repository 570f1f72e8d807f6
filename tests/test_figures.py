import pytest

from dmrc.figures import ago_text, count_text, share_text, span_text

NOBODY_KNOWS = [None, float("nan"), float("inf")]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"), (812, "812"), (9431, "9,431"), (9999, "9,999"), (10_000, "10.0k"), (325_411, "325.4k"),
        (999_949, "999.9k"), (999_951, "1.0M"), (1_300_000, "1.3M"), (2.5e9, "2.5G"), (4e12, "4.0T"),
        (-12_000, "-12.0k"),
    ],
)  # fmt: skip
def test_a_count_is_short(count: float, text: str) -> None:
    assert count_text(count) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"), (0.4, "0.4 ms"), (9.96, "10 ms"), (117.2, "117 ms"), (999.6, "1.00 s"), (1200, "1.20 s"),
        (9_996, "10.0 s"), (12_345, "12.3 s"), (59_960, "1 min"), (258_000, "4 min 18 s"), (3_599_700, "1 h"),
        (7_500_000, "2 h 5 min"), (86_400_000, "1 d"), (100_800_000, "1 d 4 h"), (-5, "0 ms"),
    ],
)  # fmt: skip
def test_a_span_has_the_unit_that_it_is_read_in(milliseconds: float, text: str) -> None:
    assert span_text(milliseconds) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (0.001, "<1 %"), (0.123, "12 %"), (0.999, ">99 %"), (1, "100 %")]
)
def test_a_share_is_never_rounded_to_nothing_or_to_all(share: float, text: str) -> None:
    assert share_text(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "just now"),
        (0.4, "just now"),
        (12.7, "12 s ago"),
        (250, "4 min ago"),
        (11_000, "3 h ago"),
        (2e5, "2 d ago"),
    ],
)
def test_a_time_ago_has_one_unit(seconds: float, text: str) -> None:
    assert ago_text(seconds) == text


@pytest.mark.parametrize("nothing", NOBODY_KNOWS)
def test_what_is_not_known_is_empty(nothing: float | None) -> None:
    assert [show(nothing) for show in (count_text, span_text, share_text, ago_text)] == [""] * 4
