"""One request: its page, the panel beside the list, its bodies, its pictures, and what is done with it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from dmrc import __version__
from dmrc.capture.conversation import answered
from dmrc.capture.exports import FORMS
from dmrc.capture.filters import read_filter
from dmrc.capture.media import picture_type
from dmrc.capture.neighbours import neighbours
from dmrc.capture.summary import cells
from dmrc.errors import NotFoundError
from dmrc.exchange import Exchange
from dmrc.gateway.routes.documents import TEXT
from dmrc.json_values import object_of
from dmrc.ui.detail import badges, detail_values, running_values
from dmrc.ui.documents import HTML, PICTURE, ErasedRequests, PageBody, RequestFilters
from dmrc.ui.events import progress
from dmrc.ui.messages import message_views
from dmrc.ui.rendering import render

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_RECORD_SECONDS = 10.0
_RUNNING_SECONDS = 0.3
_PICTURE_HEADERS = {
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
}


class RequestPage:
    """The handlers."""

    def __init__(self, parts: DaemonParts) -> None:
        """Show what the daemon records."""
        self._parts = parts

    def add_to(self, router: APIRouter) -> None:
        """Add the routes; after those of the list, whose addresses would be ids."""
        router.get("/ui/requests/{id}", response_class=Response, responses=HTML)(self.show)
        router.get("/ui/requests/{id}/panel", response_class=Response, responses=HTML)(self.panel)
        router.get("/ui/requests/{id}/answer", response_class=Response, responses=HTML)(self.answer)
        router.get("/ui/requests/{id}/media/{hash}", response_class=Response, responses=PICTURE)(self.picture)
        router.get("/ui/requests/{id}/as/{form}", response_class=Response, responses=TEXT)(self.copy)
        router.get("/ui/requests/{id}/{part}", response_class=Response, responses=TEXT)(self.body)
        router.post("/ui/requests/{id}/delete", response_model=ErasedRequests)(self.delete)

    async def show(self, id: str, filters: Annotated[RequestFilters, Query()]) -> Response:
        """Return the page of one request; the filters say among which ones the next and the previous are looked for."""
        given = filters.given()
        frame: dict[str, object] = {"here": "requests", "version": __version__, "given": given}
        exchange = await self._ended(id)
        if exchange is None:
            return HTMLResponse(render("request.html", **frame, **self._running(id)))
        beside = await asyncio.to_thread(neighbours, self._parts.database, read_filter(given), exchange.id)
        values = {**await self._values(exchange), "given": given, "neighbours": beside}
        return HTMLResponse(
            await asyncio.to_thread(render, "request.html", here="requests", version=__version__, **values)
        )

    async def panel(self, id: str) -> Response:
        """Return the same without a page, to stand beside the list."""
        exchange = await self._ended(id)
        if exchange is None:
            return HTMLResponse(render("request_running.html", level=2, **self._running(id)))
        values = await self._values(exchange)
        return HTMLResponse(await asyncio.to_thread(render, "request_detail.html", level=2, **values))

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
        """Return a request as a program that asks again, or as a line of JSON."""
        exchange = await self._exchange(id)
        known = FORMS.get(form)
        if known is None or not known.accepts(exchange):
            raise NotFoundError(f"this request cannot be written as '{form}'")
        url = f"http://127.0.0.1:{self._parts.settings.port}"
        return PlainTextResponse(await asyncio.to_thread(known.text, [exchange], url))

    async def picture(self, id: str, hash: str) -> Response:
        """Return a picture of a request, where the record keeps it; nothing else that a request may carry is shown."""
        note = object_of((await self._exchange(id)).request_media.get(hash))
        data = _decoded(note.get("base64"))
        kind = picture_type(data)
        if kind is None:
            raise NotFoundError("the record does not keep this picture", remedy="Set DMRC_CAPTURE_MEDIA=1")
        return Response(data, media_type=kind, headers=_PICTURE_HEADERS)

    async def delete(self, id: str, _body: PageBody) -> dict[str, int]:
        """Delete a request for good, as `dmrc requests rm` does."""
        exchange = await self._exchange(id)
        return {"erased": await asyncio.to_thread(self._parts.database.erase, [exchange.id])}

    async def _values(self, exchange: Exchange) -> dict[str, object]:
        values = await asyncio.to_thread(detail_values, self._parts.database, exchange)
        return {**values, "models": sorted(name for name, _ in await self._parts.catalog.names(None))}

    async def _ended(self, id: str) -> Exchange | None:
        """Return the exchange of an address; None where it runs still: it has a moment to end."""
        try:
            return await asyncio.wait_for(self._exchange(id), _RUNNING_SECONDS)
        except TimeoutError:
            return None if id in self._parts.lifecycle.running else await self._exchange(id)

    def _running(self, id: str) -> dict[str, object]:
        lifecycle = self._parts.lifecycle
        return running_values(lifecycle.beginning(lifecycle.running[id]), progress(lifecycle).get(id))

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


def _answer(exchange: Exchange) -> Response:
    return HTMLResponse(
        render(
            "answer.html",
            exchange=exchange,
            row=cells(exchange),
            badges=badges(exchange),
            answers=message_views(answered(exchange), {}),
            base=f"/ui/requests/{exchange.id}",
            response_text=exchange.response_body.decode("utf-8", "replace"),
        )
    )


def _decoded(encoded: object) -> bytes:
    """Return the bytes of a picture; none where they are not kept."""
    if not isinstance(encoded, str):
        return b""
    try:
        return base64.b64decode(encoded.replace("-", "+").replace("_", "/") + "=" * (-len(encoded) % 4))
    except (ValueError, binascii.Error):
        return b""
