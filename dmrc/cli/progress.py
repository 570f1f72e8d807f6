"""What a person sees while they wait: bars on a terminal, a line every few seconds otherwise. All of it on stderr."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from dmrc.cli.tables import duration

if TYPE_CHECKING:
    import rich.progress

    from dmrc.sources import ProgressEvent, TransferCount

_LINE_SECONDS = 3.0

_WIDEST_BAR = 20
_NARROWEST_BAR = 6
# "999.9/999.9 MB", "999.9 MB/s", "0:00:00", and the spaces between the columns.
_NUMBERS_WIDTH = 14 + 10 + 7 + 4
_SHORTEST_NAME = 16
# Of a config or a licence nobody sees a bar grow.
_SMALLEST_ROW_BYTES = 1 << 20


def is_terminal() -> bool:
    """Return whether somebody looks at stderr, on a terminal that can move its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def note(text: str) -> None:
    """Write one line to stderr."""
    click.echo(text, err=True)


@contextmanager
def spinner(text: str) -> Iterator[None]:
    """Show that something takes its time: a spinner with the seconds, or a line after a while."""
    if not is_terminal():
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


def _line(name: str, count: TransferCount) -> str:
    """Return how far a transfer is, how fast it is, and how long it will take like that."""
    from dmrc.gguf import format_size

    done, size, rate = count.done_bytes, count.size_bytes, count.rate() or 0.0
    left = f", {duration((size - done) / rate)} left" if rate > 0 else ""
    percent = done * 100 // max(size, 1)
    return f"{name}: {format_size(done)} of {format_size(size)} ({percent} %), {format_size(rate)}/s{left}"


class PullProgress:
    """The progress of pulls or pushes that run side by side.

    On a terminal a bar for each model, with rate and time left, and below it one for each of its layers; elsewhere a
    line every few seconds. Layers that are there already are not counted.
    """

    def __init__(self) -> None:
        """Show nothing until the first event."""
        self._cancel = threading.Event()
        self._lock = threading.Lock()
        self._models: dict[str, TransferCount] = {}
        self._bars: _Bars | None = None
        self._next_line = time.monotonic() + _LINE_SECONDS

    def __enter__(self) -> Self:
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
        """Return the callback for the pull or push of one model."""

        def on_event(event: ProgressEvent) -> None:
            with self._lock:
                self._show(name, event)

        return on_event

    def of_parts(self, name: str) -> Callable[[str, int, int], None]:
        """Return the callback for what comes in parts of which each is told with its bytes and its size."""
        from dmrc.errors import CancelledError
        from dmrc.sources import ProgressEvent

        on_event = self.of(name)

        def on_part(part: str, current: int, size: int) -> None:
            if self.cancelled():
                raise CancelledError("cancelled")
            on_event(ProgressEvent("Downloading", part, current, size))

        return on_part

    def _show(self, name: str, event: ProgressEvent) -> None:
        if event.layer is None:
            (self._bars.note if self._bars else note)(event.status)
            return
        from dmrc.sources import TransferCount

        model = self._models.setdefault(name, TransferCount())
        model.take(event)
        if is_terminal():
            self._bars = self._bars or _Bars()
            self._bars.show(name, model, afresh=event.is_resumed)
        elif model.layers and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            for other, moving in self._models.items():
                if moving.done_bytes < moving.size_bytes:
                    note(_line(other, moving))


class _Bars:
    """Bars on a terminal."""

    def __init__(self) -> None:
        """Show none yet."""
        self._progress = _rich_progress()
        self._tasks: dict[tuple[str, str], rich.progress.TaskID] = {}
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """Write a line above the bars."""
        self._progress.console.print(text, markup=False, highlight=False)

    def show(self, name: str, model: TransferCount, *, afresh: bool) -> None:
        """Move the bars of a model; `afresh` leaves what came before out of the rate."""
        self._row((name, ""), name, model.done_bytes, model.size_bytes, afresh=afresh)
        large = {layer: bytes_ for layer, bytes_ in model.layers.items() if bytes_[1] >= _SMALLEST_ROW_BYTES}
        # One layer would say twice what its model says; more than the screen holds would hide the models.
        shown = list(large.items()) if 1 < len(large) < self._progress.console.height // 2 else []
        for layer, (current, size) in shown:
            # A layer has a digest; a file that is packaged or comes from elsewhere has a name.
            self._row(
                (name, layer),
                f"  {layer[7:19] if layer.startswith('sha256:') else layer}",
                current,
                size,
                afresh=afresh,
            )
        for key, task in self._tasks.items():
            if key[0] == name and key[1] not in ("", *(layer for layer, _ in shown)):
                self._progress.update(task, visible=False)

    def _row(self, key: tuple[str, str], text: str, current: int, size: int, *, afresh: bool) -> None:
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(text, total=size)
        if afresh:
            self._progress.reset(self._tasks[key], total=size, completed=current, visible=size > 0)
        self._progress.update(self._tasks[key], completed=current, total=size, visible=size > 0)


def _rich_progress() -> rich.progress.Progress:
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
    # On a narrow terminal the bar is shorter, then the name is cut, and never a number.
    free = console.width - _NUMBERS_WIDTH
    bar = min(_WIDEST_BAR, max(_NARROWEST_BAR, free - _SHORTEST_NAME))
    name = Column(no_wrap=True, overflow="ellipsis", max_width=max(_SHORTEST_NAME, free - bar))
    columns = (
        TextColumn("{task.description}", table_column=name, markup=False),
        BarColumn(bar_width=bar),
        DownloadColumn(table_column=Column(no_wrap=True, justify="right")),
        TransferSpeedColumn(table_column=Column(no_wrap=True, justify="right")),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
    )
    return Progress(*columns, console=console)
