"""Requests in lines: aligned, coloured on a terminal, and never wider than it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from dmrc.capture.summary import Cells, cells, outcome
from dmrc.exchange import Exchange

_COLOURS = {"done": "green", "failed": "red", "cancelled": "yellow"}
# Of a request that nobody has seen the others of: `dmrc requests --follow` cannot know what will come.
USUAL_WIDTHS = (8, 8, 20, 12, 3, 11, 6, 9)
"""Widths of the columns where the lines are not known before."""

_NUMBERS_FROM = 5
_LONGEST_WORDS = 60


@dataclass(frozen=True, slots=True)
class Screen:
    """Where the lines go."""

    width: int | None
    """Cells in a line; None: nobody folds it, as in a file."""
    colour: bool
    """Whether colours are shown."""

    @classmethod
    def of_stdout(cls) -> Screen:
        """Return what stdout is now: a terminal may change its width."""
        if not sys.stdout.isatty():
            return cls(None, False)
        return cls(shutil.get_terminal_size().columns, not os.environ.get("NO_COLOR"))

    def style(self, text: str, **styles: Any) -> str:
        """Return the text with styles of `click.style`, where colours are shown."""
        return click.style(text, **styles) if self.colour else text


def lines(exchanges: Sequence[Exchange], excerpts: Mapping[str, str], screen: Screen) -> list[str]:
    """Return a line for each, aligned with one another."""
    rows = [(exchange, cells(exchange, excerpts.get(exchange.id, ""))) for exchange in exchanges]
    columns = [row.columns for _, row in rows]
    widths = tuple(max(_width(cell) for cell in column) for column in zip(*columns, strict=True))
    return [line(exchange, row, widths, screen) for exchange, row in rows]


def line(exchange: Exchange, row: Cells, widths: Sequence[int], screen: Screen) -> str:
    """Return one line."""
    from rich.cells import set_cell_size

    styles: tuple[dict[str, Any], ...] = (
        *({"dim": True}, {"fg": "cyan"}, {"bold": True}, {}),
        *({"fg": _COLOURS[outcome(exchange)]}, {}, {}, {}),
    )
    left = screen.width
    parts: list[str] = []
    for number, (cell, width, style) in enumerate(zip(row.columns, widths, styles, strict=True)):
        if left is not None and left <= 0:
            return "  ".join(parts)
        padding = " " * (width - _width(cell))
        padded = padding + cell if number >= _NUMBERS_FROM else cell + padding
        if left is not None:
            padded = set_cell_size(padded, min(_width(padded), left))
            left -= _width(padded) + 2
        parts.append(screen.style(padded, **style))
    text = "  ".join(part for part in (row.error, row.words) if part)
    shown = fitted(text, left if left is not None else _LONGEST_WORDS * (2 if row.error else 1))
    if shown:
        parts.append(screen.style(shown, fg="red") if row.error else shown)
    return "  ".join(parts).rstrip()


def fitted(text: str, width: int) -> str:
    """Return the text in at most `width` cells of a terminal; wide characters take two."""
    from rich.cells import set_cell_size

    if _width(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
