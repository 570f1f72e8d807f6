"""`dmrc requests --follow`: requests as they start and complete."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter, is_shown
from dmrc.capture.summary import cells, from_json, running_cells, to_json
from dmrc.cli.app import App
from dmrc.cli.progress import note
from dmrc.cli.record.requests.lines import Screen, Table, fitted
from dmrc.errors import DaemonError, InputError
from dmrc.exchange import Exchange
from dmrc.fields import JsonObject

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

_RETRY_SECONDS = 0.5
# The recorder waits a tenth of a second for a batch; what completed before we watched is on disk then.
_SETTLE_SECONDS = 0.3
_REMEMBERED = 10_000


def follow_requests(app: App, query: ExchangeFilter, limit: int, *, as_json: bool) -> None:
    """Print the last `limit` requests, then each one that completes, until Ctrl+C; survives the daemon's restarts.

    Raises:
        InputError: The filter has words, or a conversation: only what is on disk can be searched for them.
    """
    if query.text is not None or query.before is not None or query.conversation is not None:
        raise InputError(
            "--follow does not go with --grep, --before or --conversation",
            remedy="Leave it out, or list without --follow",
        )
    database = app.record
    with _output(as_json) as output:
        follower = _Follower(database, query, output)
        follower.catch_up(limit)
        told = False
        while True:
            try:
                for name, document in app.daemon.events("/requests/live"):
                    told = False
                    follower.take(name, document)
            except DaemonError as error:
                if not told:
                    note(f"{error.message}; waiting for it")
                    told = True
            output.running.clear()
            time.sleep(_RETRY_SECONDS)


class _Output:
    """Lines on stdout: text, or JSON."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.running: dict[str, JsonObject] = {}
        self._has_header = False

    def show(self, exchange: Exchange, excerpt: str) -> None:
        if self._as_json:
            click.echo(json.dumps(to_json(exchange, with_content=False)))
        else:
            table = Table(Screen.of_stdout())
            if not self._has_header:
                self._has_header = True
                self.write(table.header())
            self.write(table.line(exchange, cells(exchange, excerpt)))

    def write(self, text: str) -> None:
        click.echo(text)


class _Terminal(_Output):
    """Below the lines of what completed, those that run."""

    def __init__(self, live: Live) -> None:
        super().__init__(as_json=False)
        self._live = live

    def write(self, text: str) -> None:
        from rich.text import Text

        self._live.console.print(Text.from_ansi(text), soft_wrap=True)

    def __rich__(self) -> Text:
        """Return what runs, with the seconds so far; drawn anew several times a second."""
        from rich.text import Text

        now, width = time.time(), Screen.of_stdout().width or 80
        return Text(
            "\n".join(fitted(_running(document, now), width) for document in list(self.running.values())), "dim"
        )


def _running(document: JsonObject, now: float) -> str:
    from dmrc.capture.live import Started

    started = Started.from_json(document)
    return Table(Screen.of_stdout()).running(running_cells(started, "…", f"{now - started.received_at:.1f} s"))


@contextmanager
def _output(as_json: bool) -> Iterator[_Output]:
    if as_json or not sys.stdout.isatty():
        yield _Output(as_json)
        return
    from rich.console import Console
    from rich.live import Live

    live = Live(console=Console(), refresh_per_second=5, transient=True)
    terminal = _Terminal(live)
    live.update(terminal)
    with live:
        yield terminal


class _Follower:
    """What was shown, and what comes next."""

    def __init__(self, database: ExchangeDatabase, query: ExchangeFilter, output: _Output) -> None:
        self._database = database
        self._query = query
        self._output = output
        self._shown: dict[str, None] = {}

    def take(self, name: str, document: JsonObject) -> None:
        """Take one event of the daemon."""
        if name in ("connected", "missed"):
            time.sleep(_SETTLE_SECONDS)
            self.catch_up(_REMEMBERED if self._shown else 0)
        elif name == "started":
            self._start(document)
        elif name == "completed":
            excerpt = document.pop("excerpt", "")
            exchange = from_json(document)
            self._output.running.pop(exchange.id, None)
            self._show(exchange, str(excerpt))

    def catch_up(self, limit: int) -> None:
        """Show what was recorded after the last one that was shown, `limit` of it at most."""
        page: list[Exchange] = []
        for exchange in self._database.page(self._query, limit) if limit else ():
            if exchange.id in self._shown:
                break
            page.insert(0, exchange)
        excerpts = self._database.excerpts(page)
        for exchange in page:
            self._show(exchange, excerpts.get(exchange.id, ""))

    def _start(self, document: JsonObject) -> None:
        wanted = {"project": self._query.project, "service": self._query.service}
        if all(value in (None, document[name]) for name, value in wanted.items()):
            self._output.running[str(document["id"])] = document

    def _show(self, exchange: Exchange, excerpt: str) -> None:
        if exchange.id in self._shown or not is_shown(exchange, self._query):
            return
        self._shown[exchange.id] = None
        if len(self._shown) > _REMEMBERED:
            del self._shown[next(iter(self._shown))]
        self._output.show(exchange, excerpt)
