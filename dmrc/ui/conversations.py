"""The pages of conversations: the list, and one conversation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from dmrc.capture.filters import read_filter
from dmrc.conversations.listing import MOST_WALKED, ConversationPage, conversations
from dmrc.conversations.record import ConversationRecord
from dmrc.conversations.turns import conversation
from dmrc.errors import InputError, NotFoundError
from dmrc.ui.conversation_view import ConversationView
from dmrc.ui.documents import HTML, ConversationFilters, ConversationFiltersAfter
from dmrc.ui.rendering import page, render

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_ROWS = 50
_TURNS = 100
_KNOWN_BEFORE = 20


class ConversationPages:
    """The handlers."""

    def __init__(self, parts: DaemonParts) -> None:
        """Show what the daemon records."""
        self._parts = parts
        self._record = ConversationRecord(parts.settings.paths.exchanges)

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.get("/ui/conversations", response_class=Response, responses=HTML)(self.index)
        router.get("/ui/conversations/rows", response_class=Response, responses=HTML)(self.rows)
        router.get("/ui/conversations/{id}", response_class=Response, responses=HTML)(self.show)
        router.get("/ui/conversations/{id}/turns", response_class=Response, responses=HTML)(self.turns)

    async def index(self, filters: Annotated[ConversationFilters, Query()]) -> Response:
        """Return the list, with the filters of the address."""
        version = await asyncio.to_thread(self._record.version)
        try:
            listed, error = await asyncio.to_thread(self._listed, filters, None), None
        except InputError as wrong:
            listed, error = ConversationPage([], None), wrong
        return page(
            "conversations.html",
            here="conversations",
            status=400 if error else 200,
            given=filters,
            is_filtered=bool(filters.given()) or bool(filters.singles),
            listed=listed,
            seen=version,
            error=error,
            projects=self._parts.projects.all(),
            most_walked=MOST_WALKED,
        )

    async def rows(self, filters: Annotated[ConversationFiltersAfter, Query()]) -> Response:
        """Return rows without a page; nothing (204) where the record is as it was when `seen` was told."""
        version = await asyncio.to_thread(self._record.version)
        if filters.seen == version:
            return Response(status_code=204)
        listed = await asyncio.to_thread(self._listed, filters, filters.after)
        headers = {"x-seen": version, "x-before": listed.before_id or ""}
        return HTMLResponse(render("conversation-rows.html", listed=listed), headers=headers)

    async def show(self, id: str, before: str | None = None) -> Response:
        """Return one conversation, by the id of any of its requests; `before`: its turns before that one."""
        return await asyncio.to_thread(self._shown, id, before)

    async def turns(self, id: str, seen: str = "") -> Response:
        """Return what the page of a conversation shows; nothing (204) where it is as it was when `seen` was told."""
        return await asyncio.to_thread(self._turns, id, seen)

    def _listed(self, filters: ConversationFilters, after: str | None) -> ConversationPage:
        query = read_filter(filters.given())
        return conversations(self._record, query, _ROWS, after, without_singles=filters.singles == "hide")

    def _shown(self, id: str, before: str | None) -> Response:
        found = self._record.find(id)
        version = self._record.version(found)
        view = self._view(found, before)
        return page("conversation.html", here="conversations", seen=version, is_live=before is None, view=view)

    def _turns(self, id: str, seen: str) -> Response:
        version = self._record.version(id)
        if version == seen:
            return Response(status_code=204)
        html = render("conversation-body.html", view=self._view(id, None))
        return HTMLResponse(html, headers={"x-seen": version})

    def _view(self, id: str, before: str | None) -> ConversationView:
        """Return what the templates show of the last turns before that one; it reads what was said in them."""
        read = self._record.requests(id, _TURNS + _KNOWN_BEFORE, before)
        shown, known = read[-_TURNS:], read[:-_TURNS]
        if not shown:
            raise NotFoundError(
                f"conversation '{id}' has no requests on record", remedy="See the list of conversations"
            )
        earlier = self._record.count(id, shown[0].id)
        told = conversation(shown, known, earlier + 1)
        return ConversationView.of(id, told, self._record.count(id), self._record.question(id))
