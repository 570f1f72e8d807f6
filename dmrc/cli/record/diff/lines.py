"""A comparison in lines: what is different, the worst first, then what it comes to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dmrc.capture.summary import plain
from dmrc.cli.record.requests.lines import Screen, fitted
from dmrc.comparison.comparison import Compared, Comparison, title
from dmrc.comparison.sendable import MASKED

_HEADERS = ("ID", "SERVICE", "MODEL", "TOKENS", "TOOK", "DIFFERENCE")
_WIDEST_NAME = 20
_LONGEST_WORDS = 200


def lines(report: Comparison, screen: Screen) -> Iterator[str]:
    """Yield a header and a line for each answer that is different, and the summary."""
    rows = [(row, _cells(row)) for row in report.rows if row.differences]
    if rows:
        widths = [max(len(cells[column]) for cells in (_HEADERS, *(cells for _, cells in rows))) for column in range(5)]
        yield screen.style(_line(_HEADERS, widths, screen), bold=True)
        for row, cells in rows:
            text = _line(cells, widths, screen)
            yield screen.style(text, fg="red" if row.is_regression else "yellow")
        yield ""
    yield from report.summary()
    if MASKED in report.reasons():
        yield "  --with-redacted sends those with something masked, too, with the mask in its place"


def _line(cells: Sequence[str], widths: Sequence[int], screen: Screen) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    before = "  ".join(padded) + "  "
    left = _LONGEST_WORDS if screen.width is None else max(0, screen.width - len(before))
    return (before + fitted(cells[-1], left)).rstrip()


def _cells(row: Compared) -> tuple[str, ...]:
    id, who, model = title(row)
    tokens = f"{_number(row.then.tokens)}→{_number(row.now.tokens)}"
    took = f"{_number(row.then.answer_ms)}→{_number(row.now.answer_ms)} ms"
    found = "; ".join(f"{one.kind}: {plain(one.words, _LONGEST_WORDS)}" for one in row.differences)
    return id, plain(who, _WIDEST_NAME), plain(model, _WIDEST_NAME), tokens, took, found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
