"""What can be asked of a response that is remembered: itself, what it answered, and to be forgotten.

Source: https://platform.openai.com/docs/api-reference/responses/get
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from dmrc.dialects.responses.routes import Document, ResponsesDialect
from dmrc.errors import InputError
from dmrc.gateway.server.admission import Admission
from dmrc.json_values import items_of


class ResponseRoutes:
    """The handlers; a project sees its own responses only."""

    def __init__(self, admission: Admission, responses: ResponsesDialect, paths: list[str]) -> None:
        """Look into what `responses` remembers; `paths` are where new ones are asked for."""
        self._admission = admission
        self._responses = responses
        self._paths = paths

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        routes: tuple[tuple[str, str, Callable[[Request], Awaitable[Response]]], ...] = (
            ("GET", "/{id}", self._show),
            ("DELETE", "/{id}", self._forget),
            ("GET", "/{id}/input_items", self._input_items),
        )
        for path in self._paths:
            for method, below, handler in routes:
                app.add_api_route(f"{path}{below}", handler, methods=[method], response_model=None)

    async def _show(self, request: Request) -> Response:
        if request.query_params.get("stream") == "true":
            raise InputError("a response that is remembered is not streamed again", remedy="Leave 'stream' out")
        return JSONResponse(self._responses.conversations(self._project(request)).response(_id(request)))

    async def _forget(self, request: Request) -> Response:
        self._responses.conversations(self._project(request)).forget(_id(request))
        return JSONResponse({"id": _id(request), "object": "response", "deleted": True})

    async def _input_items(self, request: Request) -> Response:
        asked = self._responses.conversations(self._project(request)).asked(_id(request))
        items = [_in_full(item, f"item_{place}_{_id(request)}") for place, item in enumerate(items_of(asked))]
        ends = {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {}
        return JSONResponse(
            {"object": "list", "data": items, "has_more": False, "first_id": None, "last_id": None, **ends}
        )

    def _project(self, request: Request) -> str | None:
        caller = self._admission.admit(request.scope)
        return caller.registration.name if caller else None


def _in_full(item: Document, name: str) -> Document:
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


def _id(request: Request) -> str:
    return str(request.path_params["id"])
