"""The screen of `dmrc top`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.css.query import NoMatches
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Static

from dmrc.cli.record.top.rows import MODELS, RECENT, RUNNING, TopRow, matches, model_rows, recent_rows, running_rows
from dmrc.cli.record.top.rows import status_line as line_of
from dmrc.cli.record.top.table import LiveTable
from dmrc.cli.record.top.watching import Glance, Watching
from dmrc.errors import DmrcError

_CSS = """
Screen { layout: vertical; }
#status { height: 1; padding: 0 1; text-style: bold; }
#status.away { color: ansi_red; }
LiveTable { height: auto; border-top: solid ansi_bright_black; padding: 0; scrollbar-size: 1 1; }
LiveTable:focus { border-top: solid ansi_blue; }
LiveTable > .datatable--header { background: ansi_default; color: ansi_default; text-style: bold; }
LiveTable > .datatable--cursor { background: ansi_default; color: ansi_default; text-style: none; }
LiveTable > .datatable--hover { background: ansi_default; }
LiveTable:focus > .datatable--cursor { background: ansi_default; color: ansi_default; text-style: reverse; }
#running { max-height: 35%; min-height: 3; }
#models { max-height: 30%; min-height: 3; }
#recent { height: 1fr; }
#filter { dock: bottom; display: none; height: 1; border: none; padding: 0 1; }
#filter.open { display: block; }
Detail { align: center middle; }
Detail VerticalScroll { width: 100%; height: 100%; padding: 0 1; }
"""


class Detail(ModalScreen[None]):
    """One request or model, whole."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Back"),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, text: Text) -> None:
        """Show this text."""
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=True):
            yield Static(self._text)
        yield Footer(show_command_palette=False)

    def action_scroll(self, lines: int) -> None:
        """Scroll by some lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


class TopApp(App[None]):
    """Draws each look of `Watching`."""

    TITLE = "dmrc top"
    CSS = _CSS
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", "Quit"),
        Binding("enter", "show", "Show", show=True, priority=False),
        Binding("c", "cancel", "Cancel"),
        Binding("u", "unload", "Unload"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("f", "failures", "Failures"),
        Binding("escape", "clear", "Clear", show=False),
    ]

    def __init__(self, watching: Watching) -> None:
        """Show what this reads."""
        super().__init__(ansi_color=True)
        self._watching = watching
        self._glance = Glance()
        self._words = ""

    def compose(self) -> ComposeResult:
        yield Static("Looking …", id="status", markup=False)
        yield LiveTable("Running", RUNNING, "running")
        yield LiveTable("Models", MODELS, "models")
        yield LiveTable("Last requests", RECENT, "recent", stays_first=True)
        yield Input(placeholder="Show only lines with these words", id="filter", compact=True)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to look. The thread is none that the end of the process waits for."""
        self.theme = "ansi-dark"  # the terminal's own colours, whichever they are
        self.query_one("#recent").focus()
        threading.Thread(target=self._watching.follow, args=(self._tell,), name="dmrc-top", daemon=True).start()

    def on_unmount(self) -> None:
        """Look no more."""
        self._watching.end()

    def on_resize(self, _event: Resize) -> None:
        """Fit the columns to the terminal."""
        self.call_after_refresh(self._draw)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show a line whole: Enter, or a click."""
        event.stop()
        self.action_show()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter as one types."""
        self._words = event.value
        self._draw()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Go back to the lines; the filter stays."""
        self.query_one("#filter").remove_class("open")
        self.query_one("#recent").focus()

    def action_filter(self) -> None:
        """Open the filter."""
        field = self.query_one("#filter", Input)
        field.add_class("open")
        field.focus()

    def action_clear(self) -> None:
        """Close the filter and forget its words."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.remove_class("open")
        self.query_one("#recent").focus()

    def action_failures(self) -> None:
        """Show of the last requests those that failed, or all of them."""
        self._watching.only_failed = not self._watching.only_failed
        self._watching.soon()

    def action_show(self) -> None:
        """Show the line with the cursor whole."""
        table = self._table()
        if table is None or table.key is None:
            return
        if table.id == "recent":
            self._apart(lambda key=table.key: self._detail(key))  # type: ignore[misc]
        else:
            row = table.rows_shown[table.cursor_row]
            columns = RUNNING if table.id == "running" else MODELS
            lines = [(column.title.capitalize(), text) for column, text in zip(columns, row.texts, strict=True) if text]
            self.push_screen(Detail(Text("\n".join(f"{name + ':':11} {text}" for name, text in lines))))

    def action_cancel(self) -> None:
        """Cancel the request with the cursor."""
        key = self._meant("running")
        if key is not None:
            self._apart(lambda: self._watching.cancel(key), "Cancelled")

    def action_unload(self) -> None:
        """Unload the model with the cursor."""
        key = self._meant("models")
        model = next((str(one["model"]) for one in self._glance.runners if one["id"] == key), None)
        if model is not None:
            self._apart(lambda: self._watching.unload(model), "Unloads when its requests have ended")

    def _meant(self, id_: str) -> str | None:
        """Return the key of the line that is meant: that with the cursor, or the only one; else say how to choose."""
        table = self.query_one(f"#{id_}", LiveTable)
        if len(table.rows_shown) == 1 or self.focused is table:
            return table.key
        what = "a running request" if id_ == "running" else "a model"
        self.notify(f"Move to {what} first: Tab, then up and down", severity="warning")
        return None

    def _detail(self, id_: str) -> None:
        from dmrc.cli.record.requests.lines import Screen
        from dmrc.cli.record.requests.show import page_lines

        exchange = self._watching.exchange(id_)
        lines = "\n".join(page_lines(exchange, None, Screen(max(40, self.size.width - 4), colour=not self.no_color)))
        self.call_from_thread(self.push_screen, Detail(Text.from_ansi(lines)))

    def _apart(self, work: Callable[[], None], done: str = "") -> None:
        """Do what may take its time in a thread, and say what came of it."""

        def run() -> None:
            try:
                work()
                if done:
                    self.call_from_thread(self.notify, done)
            except DmrcError as error:
                self.call_from_thread(self.notify, str(error), severity="error")

        threading.Thread(target=run, name="dmrc-top-deed", daemon=True).start()

    def _tell(self, glance: Glance) -> None:
        """Take a look from the thread."""
        try:
            self.call_from_thread(self._take, glance)
        except RuntimeError:  # the screen has ended meanwhile
            self._watching.end()

    def _take(self, glance: Glance) -> None:
        self._glance = glance
        self._draw()

    def _draw(self) -> None:
        glance, width = self._glance, self.size.width
        try:
            status = self.screen_stack[0].query_one("#status", Static)
        except NoMatches:
            return
        status.set_class(bool(glance.away), "away")
        status.update(f"{glance.away}; waiting for it" if glance.away else line_of(glance, width - 2))
        note = f"filter: {self._words}" if self._words else ""
        self._fill("running", running_rows(glance), width, note)
        self._fill("models", model_rows(glance), width, note)
        failed = "failures only" if self._watching.only_failed else ""
        self._fill("recent", recent_rows(glance), width, " · ".join(filter(None, (failed, note))))

    def _fill(self, id_: str, rows: Iterable[TopRow], width: int, note: str) -> None:
        table = self.screen_stack[0].query_one(f"#{id_}", LiveTable)
        table.show([row for row in rows if matches(row, self._words)], width, note)

    def _table(self) -> LiveTable | None:
        return self.focused if isinstance(self.focused, LiveTable) else None
