"""The playground: what its page is filled with, a recorded request to begin with, and its own as programs."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import Field

from dmrc.capture.exports import FORMS
from dmrc.errors import NotFoundError
from dmrc.exchange import Exchange, new_exchange_id
from dmrc.gateway.routes.documents import TEXT
from dmrc.gateway.server.page_sessions import SERVICE
from dmrc.ui.documents import HTML, PageBody
from dmrc.ui.playground_models import askable_models
from dmrc.ui.playground_source import read_source
from dmrc.ui.rendering import page

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_PATH = "/engines/v1/chat/completions"


class PlaygroundRequest(PageBody):
    """What the playground would send."""

    document: dict[str, Any] = Field(description="A chat completion")
    project: str | None = Field(default=None, description="Whose model it asks; null: the store's")


class PlaygroundPages:
    """The handlers. What is asked goes to the gateway's own routes."""

    def __init__(self, parts: DaemonParts) -> None:
        """Ask what the daemon can serve."""
        self._parts = parts

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.get("/ui/playground", response_class=Response, responses=HTML)(self.index)
        router.get("/ui/playground/models")(self.models)
        router.get("/ui/playground/from/{id}")(self.source)
        router.post("/ui/playground/as/{form}", response_class=Response, responses=TEXT)(self.copy)

    async def index(self) -> Response:
        """Return the page; its script reads what the address says."""
        return page("playground.html", here="playground")

    async def models(self) -> JSONResponse:
        """Return the models that can be asked."""
        found = await askable_models(self._parts.catalog, self._parts.projects.all())
        return JSONResponse([one.to_json() for one in found])

    async def source(self, id: str) -> Response:
        """Return a recorded request as a chat to go on with."""
        exchange = await asyncio.to_thread(self._parts.database.get, id)
        source = await asyncio.to_thread(read_source, exchange, self._parts.projects.find(exchange.project))
        return Response(source.written(), media_type="application/json")

    async def copy(self, form: str, body: PlaygroundRequest) -> Response:
        """Return a request as a program that asks it."""
        exchange = await asyncio.to_thread(_unsent, body)
        known = FORMS.get(form)
        if known is None or not known.accepts(exchange):
            raise NotFoundError(f"a request cannot be written as '{form}'", remedy="Use curl, python or node")
        url = f"http://127.0.0.1:{self._parts.settings.port}"
        return PlainTextResponse(await asyncio.to_thread(known.text, [exchange], url))


def _unsent(body: PlaygroundRequest) -> Exchange:
    """Return a request as the record would have it: the forms of an export are written from that."""
    return Exchange(
        id=new_exchange_id(),
        project=body.project,
        service=SERVICE,
        method="POST",
        path=_PATH,
        operation="chat",
        stream=body.document.get("stream") is True,
        received_at=time.time(),
        request_body=json.dumps(body.document, ensure_ascii=False, indent=2).encode("utf-8", "replace"),
    )
