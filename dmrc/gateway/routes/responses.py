"""What can be asked of a response that is remembered: itself, what it answered, and to be forgotten.

Source: https://platform.openai.com/docs/api-reference/responses/get
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import Field

from dmrc.dialects.responses.conversations import Conversations
from dmrc.dialects.responses.routes import ResponsesDialect
from dmrc.errors import InputError
from dmrc.fields import JsonObject
from dmrc.gateway.routes.documents import AnswerDocument
from dmrc.gateway.routes.error_documents import OpenAIError
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.typed_routes import CallerOf, include, repeat, route_class, typed_router
from dmrc.json_values import items_of
from dmrc.projects import Caller


class StoredResponse(AnswerDocument):
    """A response, as `POST …/responses` answered it."""

    id: str
    object: str = Field(description="`response`")


class Deleted(AnswerDocument):
    """A response that is forgotten."""

    id: str
    object: str = Field(description="`response`")
    deleted: bool


class InputItems(AnswerDocument):
    """What was asked; there is one page."""

    object: str = Field(description="`list`")
    data: list[dict[str, Any]]
    has_more: bool
    first_id: str | None
    last_id: str | None


class ResponseRoutes:
    """The handlers; a project sees its own responses only."""

    def __init__(self, admission: Admission, responses: ResponsesDialect, paths: list[str]) -> None:
        """Look into what `responses` remembers; `paths` are where new ones are asked for."""
        self._admission = admission
        self._responses = responses
        self._paths = paths

    def add_to(self, app: FastAPI) -> None:
        router = typed_router(route_class(self._admission.admit), "OpenAI", OpenAIError)
        first, *others = self._paths
        router.get(f"{first}/{{id}}", response_model=StoredResponse)(self.show)
        router.delete(f"{first}/{{id}}", response_model=Deleted)(self.forget)
        router.get(f"{first}/{{id}}/input_items", response_model=InputItems)(self.input_items)
        repeat(router, first, others)
        include(app, router)

    async def show(self, caller: CallerOf, id: str, stream: str = "") -> JsonObject:
        """Return a response."""
        if stream == "true":
            raise InputError("a response that is remembered is not streamed again", remedy="Leave 'stream' out")
        return self._conversations(caller).response(id)

    async def forget(self, caller: CallerOf, id: str) -> dict[str, object]:
        """Forget a response."""
        self._conversations(caller).forget(id)
        return {"id": id, "object": "response", "deleted": True}

    async def input_items(self, caller: CallerOf, id: str) -> dict[str, object]:
        """Return what was asked."""
        asked = self._conversations(caller).asked(id)
        items = [_in_full(item, f"item_{place}_{id}") for place, item in enumerate(items_of(asked))]
        ends = {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {}
        return {"object": "list", "data": items, "has_more": False, "first_id": None, "last_id": None, **ends}

    def _conversations(self, caller: Caller | None) -> Conversations:
        return self._responses.conversations(caller.registration.name if caller else None)


def _in_full(item: JsonObject, name: str) -> JsonObject:
    """Return an item with what a caller may leave out: its id, and of a message its type and the form of its content.

    Source: https://platform.openai.com/docs/api-reference/responses/input-items
    """
    item = {"id": name, "status": "completed", **item}
    if item.get("type", "message") != "message":
        return item
    content = item.get("content")
    if isinstance(content, str):
        kind = "output_text" if item.get("role") == "assistant" else "input_text"
        content = [{"type": kind, "text": content}]
    return {**item, "type": "message", "content": content}
