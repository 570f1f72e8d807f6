"""A table of `dmrc top`: it keeps its cursor where it is when its rows change, and fits its columns to the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import DataTable

from dmrc.cli.record.requests.lines import fitted
from dmrc.cli.record.top.rows import TopColumn, TopRow, widths


class LiveTable(DataTable[Text]):
    """Rows by their keys."""

    def __init__(self, title: str, columns: Sequence[TopColumn], id: str, *, stays_first: bool = False) -> None:
        """Show nothing yet. With `stays_first` a cursor on the first row stays there: it is on the newest."""
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, cell_padding=1, show_cursor=True)
        self.border_title = title
        self._title = title
        self._columns = columns
        self._stays_first = stays_first
        self._drawn: tuple[int, tuple[TopRow, ...]] | None = None
        self.rows_shown: Sequence[TopRow] = ()
        """What it shows now."""

    def show(self, rows: Sequence[TopRow], width: int, note: str = "") -> None:
        """Show these rows on a terminal of this width; `note` stands behind the title."""
        count = f" {len(rows)}" if rows else ""
        self.border_title = f"{self._title}{count}{note and f' · {note}'}"
        state = width, tuple(rows)
        if state == self._drawn:
            return
        is_same = self._drawn is not None and self._drawn[0] == width
        self._drawn, key, at = state, self.key, self.cursor_row
        self.rows_shown = rows
        sizes = widths(self._columns, width)
        if not is_same:
            self.clear(columns=True)
            for column, size in zip(self._columns, sizes, strict=True):
                if size is not None:
                    self.add_column(_text(column.title, size, column, "bold"), width=size, key=column.title)
        else:
            self.clear()
        for row in rows:
            self.add_row(*self._texts(row, sizes), key=row.key)
        if self._stays_first and at == 0:
            key = None
        keys = [row.key for row in rows]
        self.move_cursor(row=keys.index(key) if key in keys else min(at, max(0, len(rows) - 1)), scroll=False)

    @property
    def key(self) -> str | None:
        """Return the key of the row with the cursor; None without rows."""
        shown = self.rows_shown
        return shown[self.cursor_row].key if 0 <= self.cursor_row < len(shown) else None

    def _texts(self, row: TopRow, sizes: Sequence[int | None]) -> list[Text]:
        return [
            _text(text, size, column, row.styles.get(column.title, ""))
            for text, size, column in zip(row.texts, sizes, self._columns, strict=True)
            if size is not None
        ]


def _text(text: str, size: int, column: TopColumn, style: str) -> Text:
    return Text(fitted(text, size), style=style, justify="right" if column.is_number else "left", no_wrap=True)
