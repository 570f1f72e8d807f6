"""Filters as people write them, on a command line or in the address of a page: `since=2h`, `status=4xx`."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime

from dmrc.capture.queries import ExchangeFilter
from dmrc.errors import InputError

NAMES = (
    *("project", "service", "model", "node", "operation", "conversation", "session", "trace"),
    *("status", "errors", "cancelled", "slow", "since", "before", "grep"),
)
"""What `read_filter` understands."""

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_SPAN_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def read_filter(given: Mapping[str, str | bool | None], sign: str = "") -> ExchangeFilter:
    """Return the filter that `NAMES` mean; what is missing, None or False is no condition.

    `sign` stands before a name in an error: `--` on a command line.

    Raises:
        InputError: One of them means nothing; it is named.
    """
    words = {name: value for name in NAMES if isinstance(value := given.get(name), str)}
    slow = words.get("slow")
    return ExchangeFilter(
        project=words.get("project"),
        service=words.get("service"),
        model=words.get("model"),
        node=words.get("node"),
        operation=words.get("operation"),
        status=_status(words.get("status"), f"{sign}status"),
        failed=bool(given.get("errors")),
        cancelled=bool(given.get("cancelled")),
        slower_ms=None if slow is None else _span(slow, f"{sign}slow") * 1000,
        since=read_moment(words.get("since"), f"{sign}since"),
        before=read_moment(words.get("before"), f"{sign}before"),
        conversation=words.get("conversation"),
        session=words.get("session"),
        trace=words.get("trace"),
        text=words.get("grep"),
    )


def read_moment(text: str | None, where: str) -> float | None:
    """Return the Unix seconds of `10m` (ago), `2026-01-31` or `2026-01-31 14:00` (in local time).

    Raises:
        InputError: It is none of these; `where` is what is said to be wrong.
    """
    if text is None:
        return None
    if match := _SPAN.fullmatch(text.strip()):
        return time.time() - float(match[1]) * _SPAN_SECONDS[match[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):
        raise InputError(
            f"{where} must be a time, not '{text}'", remedy="Use 10m, 2h, 7d, 2026-01-31 or '2026-01-31 14:00'"
        ) from None


def _span(text: str, where: str) -> float:
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{where} must be a time span, not '{text}'", remedy="Use 500ms, 5s or 2m")
    return float(match[1]) * _SPAN_SECONDS[match[2]]


def _status(text: str | None, where: str) -> tuple[int, int] | None:
    if text is None:
        return None
    if re.fullmatch(r"[1-5]xx", text.lower()):
        return int(text[0]) * 100, int(text[0]) * 100 + 99
    if re.fullmatch(r"[1-5]\d\d", text):
        return int(text), int(text)
    raise InputError(f"{where} must be an HTTP status, not '{text}'", remedy="Use 404, or 4xx for all that begin so")
