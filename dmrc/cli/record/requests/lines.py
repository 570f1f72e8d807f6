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
    needs: int = 0
    """How many cells a terminal must have for this column to be shown."""
    is_number: bool = False
    """Whether it is aligned at the right."""


COLUMNS = (
    Column("TIME", 8, 70),
    Column("ID", 8),
    Column("WHO", 14, 34),
    Column("MODEL", 14, 64),
    Column("CODE", 4, 16),
    Column("TOKENS", 9, 80, is_number=True),
    Column("FIRST", 7, 110, is_number=True),
    Column("TOOK", 7, 46, is_number=True),
    Column("TOK/S", 5, 100, is_number=True),
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
        self._widths = [column.width for column in COLUMNS]
        if rows is not None:
            self._widths[2:4] = [len(column.title) for column in COLUMNS[2:4]]
        for row in rows or ():
            for number, cell in enumerate(_cells(row)):
                self._widths[number] = max(self._widths[number], _width(cell))
        if screen.width is not None:
            # Names are cut, so that numbers and the prompt stay on the screen.
            times = 2 if screen.width >= _WIDE and rows is not None else 1
            for number in (2, 3):
                self._widths[number] = min(self._widths[number], COLUMNS[number].width * times)

    def header(self) -> str:
        """Return the header line."""
        text = self._aligned([column.title for column in COLUMNS], None) + "  PROMPT"
        return self._screen.style(text if self._screen.width is None else fitted(text, self._screen.width), bold=True)

    def line(self, exchange: Exchange, row: Cells) -> str:
        """Return the line of one request."""
        text = self._aligned(_cells(row), exchange)
        left = None if self._screen.width is None else self._screen.width - _width(click.unstyle(text)) - 2
        note = row.status.partition(" ")[2]  # how it ended, where that is no matter of its status
        words = "  ".join(part for part in (note, row.error, row.words) if part)
        shown = fitted(words, left if left is not None else _LONGEST_WORDS * (2 if row.error else 1))
        if not shown:
            return text.rstrip()
        return f"{text}  {self._screen.style(shown, fg='red') if row.error else shown}"

    def running(self, clock: str, id: str, who: str, model: str, words: str) -> str:
        """Return the line of a request that still runs; `words` say how long."""
        row = (clock, id, who, model, "…", "", "", words, "")
        return self._aligned(row, None).rstrip()

    def _aligned(self, row: Sequence[str], exchange: Exchange | None) -> str:
        width = self._screen.width
        parts = []
        for column, size, cell in zip(COLUMNS, self._widths, row, strict=True):
            if width is None or width >= column.needs:
                text = fitted(cell, size)
                padding = " " * (size - _width(text))
                padded = padding + text if column.is_number else text + padding
                parts.append(self._screen.style(padded, **_style(column, exchange)) if exchange else padded)
        return "  ".join(parts)


def _style(column: Column, exchange: Exchange) -> dict[str, Any]:
    styles: dict[str, dict[str, Any]] = {"TIME": {"dim": True}, "ID": {"fg": "cyan"}, "WHO": {"bold": True}}
    return {"fg": _COLOURS[outcome(exchange)]} if column.title == "CODE" else styles.get(column.title, {})


def _cells(row: Cells) -> tuple[str, ...]:
    """Return the cells of a line; the header has the units of two."""
    code, _, note = row.status.partition(" ")
    tokens, rate = row.tokens.removesuffix(" tok"), row.rate.removesuffix(" tok/s")
    return (row.time, row.id, row.who, row.model, code + _MARKS.get(note, ""), tokens, row.first_token, row.took, rate)


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
