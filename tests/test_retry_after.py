"""When a server that refuses a request says to come back."""

import time
from email.utils import formatdate

import pytest

from dmrc.retry_after import retry_after_seconds

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("7", 7),
        (" 0 ", 0),
        (formatdate(0, usegmt=True), 0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_what_is_neither_a_number_nor_a_date_says_nothing(told: str, seconds: int | None) -> None:
    assert retry_after_seconds(told) == seconds


def test_a_date_is_as_far_away_as_it_is_from_now() -> None:
    assert retry_after_seconds(formatdate(time.time() + 60, usegmt=True)) in (59, 60)
