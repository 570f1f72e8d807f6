"""The page of one request."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from dmrc.capture.conversation import answered, asked
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.exports import FORMS, is_whole
from dmrc.capture.summary import cells, outcome
from dmrc.errors import NotFoundError
from dmrc.exchange import Exchange
from dmrc.gateway.routes.documents import TEXT
from dmrc.lens.record import look
from dmrc.ui.cache import cache_view
from dmrc.ui.documents import HTML
from dmrc.ui.rendering import page, render
from dmrc.ui.timeline import chunks, segments, ticks

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_RECORD_SECONDS = 10.0
_COPIES = ("curl", "python", "node")


class RequestPage:
    """The handlers."""

    def __init__(self, parts: DaemonParts) -> None:
        """Show what the daemon records."""
        self._parts = parts

    def add_to(self, router: APIRouter) -> None:
        """Add the routes; after those of the list, whose addresses would be ids."""
        router.get("/ui/requests/{id}", response_class=Response, responses=HTML)(self.show)
        router.get("/ui/requests/{id}/answer", response_class=Response, responses=HTML)(self.answer)
        router.get("/ui/requests/{id}/as/{form}", response_class=Response, responses=TEXT)(self.copy)
        router.get("/ui/requests/{id}/{part}", response_class=Response, responses=TEXT)(self.body)

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
