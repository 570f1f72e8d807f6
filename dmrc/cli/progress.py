"""What a person sees while they wait: bars on a terminal, a line every few seconds otherwise. All of it on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    import rich.progress

    from dmrc.sources import ProgressEvent

_LINE_SECONDS = 3.0

_BAR_WIDTH = 20
# "999.9/999.9 MB", "999.9 MB/s", "0:00:00", and the spaces between the columns.
_NUMBERS_WIDTH = _BAR_WIDTH + 14 + 10 + 7 + 4
_SHORTEST_NAME = 12


def note(text: str) -> None:
    """Write one line to stderr."""
    click.echo(text, err=True)


@contextmanager
def spinner(text: str) -> Iterator[None]:
    """Show that something takes its time: a spinner with the seconds, or a line after a while."""
    if not sys.stderr.isatty():
        timer = threading.Timer(_LINE_SECONDS, note, [f"{text} …"])
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        return
    import rich.console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=rich.console.Console(stderr=True), transient=True) as progress:
        progress.add_task(text)
        yield


class PullProgress:
    """The progress of pulls that run side by side: a bar for each layer, with rate and time left."""

    def __init__(self) -> None:
        """Show nothing until the first event."""
        self._cancel = threading.Event()
        self._lock = threading.Lock()
        self._bars: rich.progress.Progress | None = None
        self._tasks: dict[str, rich.progress.TaskID] = {}
        self._layers: dict[str, dict[str, tuple[int, int]]] = {}
        self._next_line = time.monotonic() + _LINE_SECONDS

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the bars; an error cancels the pulls that still run."""
        if error is not None:
            self.cancel()
        if self._bars is not None:
            self._bars.stop()

    def cancel(self) -> None:
        """Tell the pulls to stop."""
        self._cancel.set()

    def cancelled(self) -> bool:
        """Return whether they should."""
        return self._cancel.is_set()

    def of(self, name: str) -> Callable[[ProgressEvent], None]:
        """Return the callback for the pull of one model."""

        def on_event(event: ProgressEvent) -> None:
            with self._lock:
                self._show(name, event)

        return on_event

    def _show(self, name: str, event: ProgressEvent) -> None:
        if event.layer is None or event.size_bytes == 0:
            return
        self._layers.setdefault(name, {})[event.layer] = (event.current_bytes, event.size_bytes)
        if sys.stderr.isatty():
            self._bar(name, event)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            note(self._line())

    def _bar(self, name: str, event: ProgressEvent) -> None:
        if self._bars is None:
            self._bars = _bars()
            self._bars.start()
        layer = str(event.layer)
        if layer not in self._tasks:
            short = layer.removeprefix("sha256:")[:12]
            self._tasks[layer] = self._bars.add_task(f"{name} {short}", total=event.size_bytes)
        self._bars.update(self._tasks[layer], completed=event.current_bytes)

    def _line(self) -> str:
        parts = []
        for name, layers in self._layers.items():
            current, size = (sum(column) for column in zip(*layers.values(), strict=True))
            parts.append(f"{name}: {current / 1e6:.1f} of {size / 1e6:.1f} MB ({current * 100 // max(size, 1)} %)")
        return "; ".join(parts)


def _bars() -> rich.progress.Progress:
    import rich.console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column

    console = rich.console.Console(stderr=True)
    # On a narrow terminal the name is cut, and never a number.
    name = Column(no_wrap=True, overflow="ellipsis", max_width=max(_SHORTEST_NAME, console.width - _NUMBERS_WIDTH))
    columns = (
        TextColumn("{task.description}", table_column=name),
        BarColumn(bar_width=_BAR_WIDTH),
        DownloadColumn(table_column=Column(no_wrap=True)),
        TransferSpeedColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
    )
    return Progress(*columns, console=console)
