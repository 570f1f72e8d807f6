"""What happens now, as Server-Sent Events with rows that are ready to be shown."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from dmrc.capture.live import Completed, LiveEvents, MissedEvents, Started
from dmrc.capture.queries import ExchangeFilter, is_shown
from dmrc.ui.rows import completed_row, running_row

if TYPE_CHECKING:
    from dmrc.gateway.inference.lifecycle import Lifecycle

_PROGRESS_SECONDS = 0.5
_HEARTBEAT_SECONDS = 15.0


async def row_events(
    live: LiveEvents, lifecycle: Lifecycle, query: ExchangeFilter, recorded: Callable[[], dict[str, object]]
) -> AsyncIterator[bytes]:
    """Yield `connected` with what `recorded` returns, then `started` and `completed` with a row each.

    `progress` tells of all that run in one event; `missed` when it was too much. `recorded` is called in a thread, and
    waits until all that ended before is on the disk: what ended after the page was made and before this began is among
    its rows.
    """
    with live.watching() as subscriber:
        yield _event("connected", await asyncio.to_thread(recorded))
        for builder in list(lifecycle.running.values()):
            if _may_show(told := lifecycle.beginning(builder), query):
                yield _event("started", running_row(told))
        told_at = time.monotonic()
        while not live.is_closed:
            event = await subscriber.next(_PROGRESS_SECONDS if lifecycle.running else _HEARTBEAT_SECONDS)
            if isinstance(event, Completed):
                if is_shown(event.exchange, query):
                    yield _event("completed", completed_row(event.exchange, event.excerpt))
            elif isinstance(event, Started):
                if _may_show(event, query):
                    yield _event("started", running_row(event))
            elif isinstance(event, MissedEvents):
                yield _event("missed", {"count": event.count})
            elif not lifecycle.running:
                yield b": still here\n\n"
            if lifecycle.running and time.monotonic() - told_at >= _PROGRESS_SECONDS:
                yield _event("progress", progress(lifecycle))
                told_at = time.monotonic()


def progress(lifecycle: Lifecycle) -> dict[str, int | None]:
    """Return how many tokens each running request has so far, by its id; None: it waits, or its model is loaded."""
    return {each.id: None if each.lease is None else each.chunks for each in lifecycle.running.values()}


def _may_show(started: Started, query: ExchangeFilter) -> bool:
    """Return whether the filter may show a request of which the end is not known."""
    unknown = (query.status, query.slower_ms, query.node, query.session, query.trace, query.conversation)
    if query.failed or query.cancelled or any(condition is not None for condition in unknown):
        return False
    wanted = (
        *((query.project, started.project), (query.service, started.service)),
        *((query.model, started.model), (query.operation, started.operation)),
    )
    return all(asked in (None, given) for asked, given in wanted)


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
