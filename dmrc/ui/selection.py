"""What is done with several requests that were chosen in the list: export and deletion."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from pydantic import Field

from dmrc.capture.exports import FORMS
from dmrc.gateway.routes.documents import TEXT, AnswerDocument
from dmrc.ui.documents import PageBody

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_MOST = 500


class SelectedRequests(PageBody):
    """Some requests."""

    ids: list[str] = Field(min_length=1, max_length=_MOST, description="Ids of their exchanges")


class DeletedRequests(AnswerDocument):
    """How many requests are gone from the record."""

    deleted: int


class SelectionRoutes:
    """The handlers."""

    def __init__(self, parts: DaemonParts) -> None:
        """Read from the record, and delete from it."""
        self._parts = parts

    def add_to(self, router: APIRouter) -> None:
        """Add the routes; before those of one request, whose ids they are not."""
        router.post("/ui/requests/export", response_class=Response, responses=TEXT)(self.export)
        router.post("/ui/requests/delete", response_model=DeletedRequests)(self.delete)

    async def export(self, body: SelectedRequests) -> Response:
        """Return requests as `dmrc requests export` writes them, the oldest first."""

        def text() -> str:
            found = [self._parts.database.get(id) for id in sorted(set(body.ids))]
            return FORMS["jsonl"].text(found, f"http://127.0.0.1:{self._parts.settings.port}")

        return PlainTextResponse(await asyncio.to_thread(text))

    async def delete(self, body: SelectedRequests) -> dict[str, int]:
        """Delete requests as `dmrc requests rm` does: what they took in the file is overwritten."""
        return {"deleted": await asyncio.to_thread(self._parts.database.erase, sorted(set(body.ids)))}
