"""What happens now, as Server-Sent Events with rows that are ready to be shown."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from dmrc.capture.live import Completed, LiveEvents, MissedEvents, Started
from dmrc.capture.queries import ExchangeFilter, is_shown
from dmrc.capture.summary import cells, outcome, running_cells
from dmrc.exchange import Exchange
from dmrc.ui.rendering import render

if TYPE_CHECKING:
    from dmrc.gateway.inference.lifecycle import Lifecycle

_PROGRESS_SECONDS = 0.25
_HEARTBEAT_SECONDS = 15.0


async def row_events(
    live: LiveEvents, lifecycle: Lifecycle, query: ExchangeFilter, recorded: Callable[[], dict[str, object]]
) -> AsyncIterator[bytes]:
    """Yield `connected` with what `recorded` returns, then `started` and `completed` with a row each.

    `progress` tells of those that run; `missed` when it was too much. `recorded` is called in a thread, and waits until
    all that ended before is on the disk: what ended after the page was made and before this began is among its rows.
    """
    with live.watching() as subscriber:
        yield _event("connected", await asyncio.to_thread(recorded))
        for builder in list(lifecycle.running.values()):
            if _may_show(told := lifecycle.beginning(builder), query):
                yield _event("started", _started(told))
        told_at = time.monotonic()
        while not live.is_closed:
            event = await subscriber.next(_PROGRESS_SECONDS if lifecycle.running else _HEARTBEAT_SECONDS)
            if isinstance(event, Completed):
                if is_shown(event.exchange, query):
                    yield _event("completed", completed_row(event.exchange, event.excerpt))
            elif isinstance(event, Started):
                if _may_show(event, query):
                    yield _event("started", _started(event))
            elif isinstance(event, MissedEvents):
                yield _event("missed", {"count": event.count})
            elif not lifecycle.running:
                yield b": still here\n\n"
            if lifecycle.running and time.monotonic() - told_at >= _PROGRESS_SECONDS:
                yield _event("progress", {each.id: each.chunks for each in lifecycle.running.values()})
                told_at = time.monotonic()


def completed_row(exchange: Exchange, excerpt: str) -> dict[str, str]:
    """Return the row of an exchange that ended."""
    row = cells(exchange, excerpt)
    return {"id": exchange.id, "html": render("row.html", id=exchange.id, row=row, state=outcome(exchange))}


def _may_show(started: Started, query: ExchangeFilter) -> bool:
    """Return whether the filter may show a request of which the end is not known."""
    if query.failed or query.status is not None or query.slower_ms is not None:
        return False
    if (query.conversation, query.session, query.trace) != (None, None, None):
        return False  # it is known when it is written
    wanted = (query.project, started.project), (query.service, started.service), (query.model, started.model)
    return all(asked in (None, given) for asked, given in wanted)


def _started(event: Started) -> dict[str, str]:
    row = running_cells(event, "runs")
    return {"id": event.id, "html": render("row.html", id=event.id, row=row, state="running")}


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
