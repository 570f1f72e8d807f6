"""The list of requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from dmrc.capture.facets import facets_of
from dmrc.capture.filters import NAMES, read_filter
from dmrc.capture.queries import ExchangeFilter
from dmrc.capture.summary import model_name, short_id
from dmrc.capture.totals import Totals, together
from dmrc.errors import InputError, NotFoundError
from dmrc.exchange import Exchange
from dmrc.gateway.routes.documents import EVENTS
from dmrc.ui import documents
from dmrc.ui.documents import HTML, CancelledRequest, FacetsDocument, RequestFilters, RequestFiltersAfter
from dmrc.ui.events import row_events
from dmrc.ui.rendering import page
from dmrc.ui.rows import completed_row, longest, seen

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_ROWS = 100
_BUCKETS = 60
_CHART_SECONDS = 86400.0
_LEAST_CHART_SECONDS = 60.0
_FLUSH_SECONDS = 1.0
_WORDS = {"errors": "errors", "cancelled": "cancelled"}
"""Filters that are one word in the search box."""

Wanted = Annotated[RequestFilters, Query()]
"""The filters of an address."""


class _Found(NamedTuple):
    """A part of the list: exchanges, and their rows as HTML."""

    exchanges: Sequence[Exchange]
    rows: list[dict[str, str]]


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
        router.get("/ui/requests/facets", response_model=FacetsDocument)(self.facets)
        router.post("/ui/requests/{id}/cancel", response_model=CancelledRequest)(self.cancel)

    async def index(self, filters: Wanted) -> Response:
        """Return the list, with the filters of the address."""
        given = filters.given()
        try:
            found, error = await asyncio.to_thread(self._read, read_filter(given), None), None
        except InputError as wrong:
            found, error = _Found([], []), wrong
        return page(
            "requests.html",
            here="requests",
            status=400 if error else 200,
            names=NAMES,
            search=search_text(given),
            is_filtered=bool(given),
            rows=[row["html"] for row in found.rows],
            seen=seen(found.exchanges),
            has_more=len(found.rows) == _ROWS,
            error=error,
            base_url=f"http://127.0.0.1:{self._parts.settings.port}/engines/v1",
        )

    async def rows(self, filters: Annotated[RequestFiltersAfter, Query()]) -> Response:
        """Return rows without a page; `?after=` is the id of the last one that is shown.

        What cannot be meant is no error here but `x-problem`, percent-encoded: it is asked while people type.
        """
        try:
            query = read_filter(filters.given())
        except InputError as wrong:
            return HTMLResponse("", headers={"x-problem": quote(str(wrong))})
        found = await asyncio.to_thread(self._read, query, filters.after)
        headers = {"x-more": str(len(found.rows) == _ROWS).lower(), "x-seen": seen(found.exchanges)}
        return HTMLResponse("".join(row["html"] for row in found.rows), headers=headers)

    async def totals(self, filters: Wanted) -> dict[str, object]:
        """Return sums over the chosen time, or the last day, and what they are made of; from the oldest request on."""
        query, now = read_filter(filters.given()), time.time()
        end = min(now, query.before or now)
        start = query.since or end - _CHART_SECONDS

        def read() -> tuple[float, list[object], dict[str, object]]:
            first = self._totals.first(query, start, end)
            fitted = start if first is None else min(max(start, first), end - _LEAST_CHART_SECONDS)
            parts = self._totals.over_time(query, fitted, end, _BUCKETS)
            return fitted, [asdict(part) for part in parts], asdict(together(parts))

        fitted, parts, whole = await asyncio.to_thread(read)
        return {"start": fitted, "end": end, **whole, "parts": parts}

    async def facets(self, filters: Wanted) -> dict[str, object]:
        """Return what the newest requests have in common."""
        found = await asyncio.to_thread(facets_of, self._parts.settings.paths.exchanges, read_filter(filters.given()))
        values = {
            name: [
                (value, model_name(str(value)) if name == "model" else str(value), count) for value, count in counted
            ]
            for name, counted in found.values.items()
        }
        return {**asdict(found), "values": values}

    async def events(self, filters: Annotated[documents.RequestFiltersSeen, Query()]) -> Response:
        """Stream what happens now. It begins with the rows on record, where `?seen=` says that the page has others."""
        query, recorder = read_filter(filters.given()), self._parts.recorder

        def recorded() -> dict[str, object]:
            recorder.flush(_FLUSH_SECONDS)
            exchanges = self._parts.database.page(query, _ROWS, None)
            if seen(exchanges) == filters.seen:
                return {}  # as nearly always: no row is written for it
            return {"rows": self._rows(exchanges), "has_more": len(exchanges) == _ROWS}

        events = row_events(self._parts.live, self._parts.lifecycle, query, recorded)
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})

    async def cancel(self, id: str) -> dict[str, str]:
        """End a request that waits or runs; its caller gets an error."""
        if not self._parts.lifecycle.cancel(id):
            raise NotFoundError(f"request {short_id(id)} has ended already, or is none")
        return {"cancelled": id}

    def _read(self, query: ExchangeFilter, after: str | None) -> _Found:
        exchanges = self._parts.database.page(query, _ROWS, after)
        return _Found(exchanges, self._rows(exchanges))

    def _rows(self, exchanges: Sequence[Exchange]) -> list[dict[str, str]]:
        excerpts = self._parts.database.excerpts(exchanges)
        scale = longest([exchange.total_ms for exchange in exchanges])
        return [completed_row(exchange, excerpts.get(exchange.id, ""), scale) for exchange in exchanges]


def search_text(given: Mapping[str, str]) -> str:
    """Return filters as the search box has them: `service:web status:4xx errors "two words"`.

    requests-search.js does the same, and reads it.
    """
    tokens = [
        _WORDS.get(name) or f"{name}:{_quoted(value)}" for name, value in given.items() if value and name != "grep"
    ]
    return " ".join([*tokens, given["grep"]] if given.get("grep") else tokens)


def _quoted(value: str) -> str:
    return f'"{value}"' if " " in value else value
