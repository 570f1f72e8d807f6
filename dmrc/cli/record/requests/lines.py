"""Requests in lines: aligned, coloured on a terminal, and never wider than it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from dmrc.capture.summary import Cells, cells, outcome
from dmrc.exchange import Exchange

_COLOURS = {"done": "green", "failed": "red", "cancelled": "yellow"}
# Beside a status that tells nothing of it; the word itself stands before the prompt, where there is room.
_MARKS = {"cancelled": "×", "broken": "!"}
_LONGEST_WORDS = 60
_WIDE = 130


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the list."""

    title: str
    """Stands in the header line; says the unit where the cells do not."""
    width: int
    """Where the lines are not known before, and at least."""
    cell: Callable[[Cells], str]
    """What it shows of a request."""
    needs: int = 0
    """How many cells a terminal must have for this column to be shown."""
    is_number: bool = False
    """Whether it is aligned at the right."""
    is_name: bool = False
    """Whether it is as wide as its cells need, and cut so that numbers and the prompt stay on the screen."""
    is_rare: bool = False
    """Whether it is shown only where one of the rows has something in it."""
    style: Callable[[Exchange], dict[str, Any]] = lambda _exchange: {}
    """How it looks, in the words of `click.style`."""


def _code(row: Cells) -> str:
    code, _, note = row.status.partition(" ")
    return code + _MARKS.get(note, "")


COLUMNS = (
    Column("TIME", 8, lambda row: row.time, 70, style=lambda _exchange: {"dim": True}),
    Column("ID", 8, lambda row: row.id, style=lambda _exchange: {"fg": "cyan"}),
    Column("SERVICE", 14, lambda row: row.who, 34, is_name=True, style=lambda _exchange: {"bold": True}),
    Column("MODEL", 14, lambda row: row.model, 64, is_name=True),
    Column("NODE", 12, lambda row: row.place, 90, is_name=True, is_rare=True),
    Column("STATUS", 6, _code, 16, style=lambda exchange: {"fg": _COLOURS[outcome(exchange)]}),
    Column("TOKENS", 9, lambda row: row.tokens, 80, is_number=True),
    Column("FIRST", 7, lambda row: row.first_token, 110, is_number=True),
    Column("TOOK", 10, lambda row: row.took, 46, is_number=True),
    Column("TOK/S", 5, lambda row: row.rate.removesuffix(" tok/s"), 100, is_number=True),
)
"""The columns of the list, before its words."""


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


class Table:
    """The list: a header line, then a line for each request, all of them aligned."""

    def __init__(self, screen: Screen, rows: Sequence[Cells] | None = None) -> None:
        """Fit the columns to these rows; with None, as they come one by one, to what is usual."""
        self._screen = screen
        # Names are cut, so that numbers and the prompt stay on the screen.
        times = 2 if (screen.width or 0) >= _WIDE and rows is not None else 1
        self._columns = [
            column for column in COLUMNS if not column.is_rare or any(column.cell(row) for row in rows or ())
        ]
        self._widths = []
        for column in self._columns:
            least = len(column.title) if column.is_name and rows is not None else column.width
            size = max([least, *(_width(column.cell(row)) for row in rows or ())])
            is_cut = column.is_name and screen.width is not None
            self._widths.append(min(size, column.width * times) if is_cut else size)

    def header(self) -> str:
        """Return the header line."""
        text = self._aligned([column.title for column in self._columns], None) + "  PROMPT"
        return self._screen.style(text if self._screen.width is None else fitted(text, self._screen.width), bold=True)

    def line(self, exchange: Exchange, row: Cells) -> str:
        """Return the line of one request."""
        text = self._aligned([column.cell(row) for column in self._columns], exchange)
        left = None if self._screen.width is None else self._screen.width - _width(click.unstyle(text)) - 2
        note = row.status.partition(" ")[2]  # how it ended, where that is no matter of its status
        words = "  ".join(part for part in (note, row.fault, row.error, row.words) if part)
        shown = fitted(words, left if left is not None else _LONGEST_WORDS * (2 if row.error else 1))
        if not shown:
            return text.rstrip()
        return f"{text}  {self._screen.style(shown, fg='red') if row.error else shown}"

    def running(self, row: Cells) -> str:
        """Return the line of a request that still runs."""
        return self._aligned([column.cell(row) for column in self._columns], None).rstrip()

    def _aligned(self, row: Sequence[str], exchange: Exchange | None) -> str:
        width = self._screen.width
        parts = []
        for column, size, cell in zip(self._columns, self._widths, row, strict=True):
            if width is None or width >= column.needs:
                text = fitted(cell, size)
                padding = " " * (size - _width(text))
                padded = padding + text if column.is_number else text + padding
                parts.append(self._screen.style(padded, **column.style(exchange)) if exchange else padded)
        return "  ".join(parts)


def lines(exchanges: Sequence[Exchange], excerpts: Mapping[str, str], screen: Screen) -> list[str]:
    """Return a header and a line for each, aligned with one another; nothing for none."""
    rows = [cells(exchange, excerpts.get(exchange.id, "")) for exchange in exchanges]
    table = Table(screen, rows)
    told = [table.line(exchange, row) for exchange, row in zip(exchanges, rows, strict=True)]
    return [table.header(), *told] if told else []


def fitted(text: str, width: int) -> str:
    """Return the text in at most `width` cells of a terminal; wide characters take two."""
    from rich.cells import set_cell_size

    if _width(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
