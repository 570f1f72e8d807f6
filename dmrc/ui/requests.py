"""The pages of requests: the list, and one request."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse

from dmrc.capture.conversation import answered, asked
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.exports import FORMS, is_whole
from dmrc.capture.filters import NAMES, read_filter
from dmrc.capture.queries import ExchangeFilter
from dmrc.capture.summary import cells, outcome
from dmrc.capture.totals import Totals, together
from dmrc.errors import InputError, NotFoundError
from dmrc.exchange import Exchange
from dmrc.gateway.routes.documents import EVENTS, TEXT
from dmrc.lens.record import look
from dmrc.ui import documents
from dmrc.ui.cache import cache_view
from dmrc.ui.documents import HTML, RequestFilters, RequestFiltersAfter
from dmrc.ui.events import completed_row, row_events
from dmrc.ui.rendering import page, render
from dmrc.ui.timeline import chunks, segments, ticks

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_ROWS = 100
_BUCKETS = 48
_CHART_SECONDS = 86400.0
_RECORD_SECONDS = 10.0
_FLUSH_SECONDS = 1.0
_COPIES = ("curl", "python", "node")

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
        router.get("/ui/requests/{id}", response_class=Response, responses=HTML)(self.show)
        router.get("/ui/requests/{id}/answer", response_class=Response, responses=HTML)(self.answer)
        router.get("/ui/requests/{id}/as/{form}", response_class=Response, responses=TEXT)(self.copy)
        router.get("/ui/requests/{id}/{part}", response_class=Response, responses=TEXT)(self.body)
        router.get("/ui/playground", response_class=Response, responses=HTML)(self.playground)

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

    async def show(self, id: str) -> Response:
        """Return the page of one request."""
        return await asyncio.to_thread(_shown, self._parts.database, await self._exchange(id), await self._models())

    async def answer(self, id: str) -> Response:
        """Return the answer of one request without a page, to stand beside another."""
        return await asyncio.to_thread(_answer, await self._exchange(id))

    async def body(self, id: str, part: str) -> Response:
        """Return what was sent or answered, byte by byte."""
        exchange = await self._exchange(id)
        if part not in ("request", "response"):
            raise NotFoundError(f"a request has no '{part}'", remedy="Use request or response")
        return PlainTextResponse(exchange.request_body if part == "request" else exchange.response_body)

    async def copy(self, id: str, form: str) -> Response:
        """Return a request as a program that asks again."""
        exchange = await self._exchange(id)
        known = FORMS.get(form)
        if known is None or not known.accepts(exchange):
            raise NotFoundError(f"this request cannot be written as '{form}'")
        url = f"http://127.0.0.1:{self._parts.settings.port}"
        return PlainTextResponse(await asyncio.to_thread(known.text, [exchange], url))

    async def playground(self) -> Response:
        """Return the playground."""
        return page("playground.html", here="playground", models=await self._models())

    async def _exchange(self, id: str) -> Exchange:
        """Return the exchange of an address. It may have ended just now: the record is written a moment later."""
        deadline = time.monotonic() + _RECORD_SECONDS
        while True:
            may_come = id in self._parts.lifecycle.running or self._parts.recorder.counts().waiting > 0
            try:
                return await asyncio.to_thread(self._parts.database.get, id)
            except NotFoundError:
                if not may_come or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.05)

    async def _models(self) -> list[str]:
        return sorted(name for name, _ in await self._parts.catalog.names(None))

    def _rows(self, query: ExchangeFilter, after: str | None) -> list[dict[str, str]]:
        database = self._parts.database
        exchanges = database.page(query, _ROWS, after)
        excerpts = database.excerpts(exchanges)
        return [completed_row(exchange, excerpts.get(exchange.id, "")) for exchange in exchanges]


def _shown(database: ExchangeDatabase, exchange: Exchange, models: list[str]) -> Response:
    """Return the page of one request. It reads what was asked and answered, which may be long, and what was before."""
    return page(
        "request.html",
        here="requests",
        exchange=exchange,
        row=cells(exchange),
        state=outcome(exchange),
        messages=asked(exchange),
        answers=answered(exchange),
        segments=segments(exchange),
        ticks=ticks(exchange),
        chunks=list(chunks(exchange)) if exchange.stream else [],
        request_text=exchange.request_body.decode("utf-8", "replace"),
        response_text=exchange.response_body.decode("utf-8", "replace"),
        received=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(exchange.received_at)),
        copies=[name for name in _COPIES if FORMS[name].accepts(exchange)],
        is_whole=is_whole(exchange),
        cache=cache_view(look(database, exchange)),
        models=models,
    )


def _answer(exchange: Exchange) -> Response:
    return HTMLResponse(
        render(
            "answer.html",
            exchange=exchange,
            row=cells(exchange),
            state=outcome(exchange),
            answers=answered(exchange),
            response_text=exchange.response_body.decode("utf-8", "replace"),
        )
    )
