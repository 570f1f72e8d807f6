"""The list of requests."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from dmrc.capture.filters import NAMES, read_filter
from dmrc.capture.queries import ExchangeFilter
from dmrc.capture.summary import short_id
from dmrc.capture.totals import Totals, together
from dmrc.errors import InputError, NotFoundError
from dmrc.gateway.routes.documents import EVENTS
from dmrc.ui import documents
from dmrc.ui.documents import HTML, CancelledRequest, RequestFilters, RequestFiltersAfter
from dmrc.ui.events import completed_row, row_events
from dmrc.ui.rendering import page

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_ROWS = 100
_BUCKETS = 48
_CHART_SECONDS = 86400.0
_FLUSH_SECONDS = 1.0

Wanted = Annotated[RequestFilters, Query()]
"""The filters of an address."""


class RequestPages:
    """The handlers."""

    def __init__(self, parts: DaemonParts) -> None:
        """Show what the daemon records."""
        self._parts = parts
        self._totals = Totals(parts.settings.paths.exchanges)

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.get("/ui/events", response_class=Response, responses=EVENTS)(self.events)
        router.get("/ui/requests", response_class=Response, responses=HTML)(self.index)
        router.get("/ui/requests/rows", response_class=Response, responses=HTML)(self.rows)
        router.get("/ui/requests/totals", response_model=documents.TotalsDocument)(self.totals)
        router.post("/ui/requests/{id}/cancel", response_model=CancelledRequest)(self.cancel)

    async def index(self, filters: Wanted) -> Response:
        """Return the list, with the filters of the address."""
        given = filters.given()
        try:
            rows, error = await asyncio.to_thread(self._rows, read_filter(given), None), None
        except InputError as wrong:
            rows, error = [], wrong
        return page(
            "requests.html",
            here="requests",
            status=400 if error else 200,
            given={name: given.get(name, "") for name in NAMES},
            rows=[row["html"] for row in rows],
            has_more=len(rows) == _ROWS,
            error=error,
            projects=self._parts.projects.all(),
        )

    async def rows(self, filters: Annotated[RequestFiltersAfter, Query()]) -> Response:
        """Return rows without a page; `?after=` is the id of the last one that is shown."""
        rows = await asyncio.to_thread(self._rows, read_filter(filters.given()), filters.after)
        return HTMLResponse("".join(row["html"] for row in rows), headers={"x-more": str(len(rows) == _ROWS).lower()})

    async def totals(self, filters: Wanted) -> dict[str, object]:
        """Return sums over the chosen time, or the last day, and what they are made of."""
        query, now = read_filter(filters.given()), time.time()
        end = min(now, query.before or now)
        start = query.since or end - _CHART_SECONDS
        parts = await asyncio.to_thread(self._totals.over_time, query, start, end, _BUCKETS)
        whole = asdict(together(parts))
        return {"start": start, "end": end, **whole, "parts": [asdict(part) for part in parts]}

    async def events(self, filters: Wanted) -> Response:
        """Stream what happens now."""
        query, recorder = read_filter(filters.given()), self._parts.recorder

        def recorded() -> dict[str, object]:
            recorder.flush(_FLUSH_SECONDS)
            rows = self._rows(query, None)
            return {"rows": rows, "has_more": len(rows) == _ROWS}

        events = row_events(self._parts.live, self._parts.lifecycle, query, recorded)
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})

    async def cancel(self, id: str) -> dict[str, str]:
        """End a request that waits or runs; its caller gets an error."""
        if not self._parts.lifecycle.cancel(id):
            raise NotFoundError(f"request {short_id(id)} has ended already, or is none")
        return {"cancelled": id}

    def _rows(self, query: ExchangeFilter, after: str | None) -> list[dict[str, str]]:
        database = self._parts.database
        exchanges = database.page(query, _ROWS, after)
        excerpts = database.excerpts(exchanges)
        return [completed_row(exchange, excerpts.get(exchange.id, "")) for exchange in exchanges]
