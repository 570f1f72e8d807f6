"""Options that say which requests are meant; `filter_of` reads them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from dmrc.errors import InputError

if TYPE_CHECKING:
    from dmrc.capture.queries import ExchangeFilter

P = ParamSpec("P")
R = TypeVar("R")

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_SPAN_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_OPTIONS = (
    click.option("--project", help="Only of this compose project."),
    click.option("--service", help="Only of this service."),
    click.option("--model", help="Only of this model: its key, its name, or its full reference."),
    click.option("--status", metavar="CODE", help="Only with this HTTP status: 404, or 4xx."),
    click.option("--errors", is_flag=True, help="Only those that failed."),
    click.option("--slow", metavar="TIME", is_flag=False, flag_value="5s", help="Only slower than this. [5s]"),
    click.option("--since", metavar="TIME", help="Only since then: 10m, 2h, 7d, or 2026-01-31."),
    click.option("--before", metavar="TIME", help="Only before then: likewise."),
    click.option("--grep", metavar="TEXT", help="Only with all these words in prompt or answer."),
)
NAMES = ("project", "service", "model", "status", "errors", "slow", "since", "before", "grep")
"""The arguments that `filter_options` adds."""


def filter_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add the options; the command gets them as the arguments `NAMES`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def filter_of(given: dict[str, Any]) -> ExchangeFilter:
    """Return the filter that the options mean.

    Raises:
        InputError: One of them means nothing; it is named.
    """
    from dmrc.capture.queries import ExchangeFilter

    slow = given["slow"]
    return ExchangeFilter(
        project=given["project"],
        service=given["service"],
        model=given["model"],
        status=_status(given["status"]),
        failed=given["errors"],
        slower_ms=None if slow is None else _span(slow, "--slow") * 1000,
        since=moment(given["since"], "--since"),
        before=moment(given["before"], "--before"),
        text=given["grep"],
    )


def moment(text: str | None, where: str) -> float | None:
    """Return the Unix seconds of `10m` (ago), `2026-01-31` or `2026-01-31 14:00` (in local time).

    Raises:
        InputError: It is none of these.
    """
    if text is None:
        return None
    if match := _SPAN.fullmatch(text.strip()):
        return time.time() - float(match[1]) * _SPAN_SECONDS[match[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):
        raise InputError(
            f"{where} is '{text}', which is no time", remedy="Use 10m, 2h, 7d, 2026-01-31 or '2026-01-31 14:00'"
        ) from None


def _span(text: str, where: str) -> float:
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{where} is '{text}', which is no time span", remedy="Use 500ms, 5s or 2m")
    return float(match[1]) * _SPAN_SECONDS[match[2]]


def _status(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    if re.fullmatch(r"[1-5]xx", text.lower()):
        return int(text[0]) * 100, int(text[0]) * 100 + 99
    if re.fullmatch(r"[1-5]\d\d", text):
        return int(text), int(text)
    raise InputError(f"--status is '{text}', which is no HTTP status", remedy="Use 404, or 4xx for all that begin so")
