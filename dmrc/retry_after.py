"""When a server that refuses a request says to come back."""

from __future__ import annotations

import math
import time
from email.utils import parsedate_to_datetime


def retry_after_seconds(told: str) -> int | None:
    """Return the seconds that a header `Retry-After` says, as a number or as a date; None where it says neither.

    Source: RFC 9110, section 10.2.3.
    """
    told = told.strip()
    if told.isascii() and told.isdigit():
        return int(told)
    try:
        then = parsedate_to_datetime(told).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0, math.ceil(then - time.time()))
