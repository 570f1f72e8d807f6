"""What can be asked of a response that is remembered: itself, what it answered, and to be forgotten.

Source: https://platform.openai.com/docs/api-reference/responses/get
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from dmrc.gateway.admission import Admission
from dmrc.gateway.dialects.responses import Responses


class ResponseRoutes:
    """The handlers; a project sees its own responses only."""

    def __init__(self, admission: Admission, responses: Responses, paths: list[str]) -> None:
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
        return JSONResponse(self._responses.conversations(self._project(request)).response(_id(request)))

    async def _forget(self, request: Request) -> Response:
        self._responses.conversations(self._project(request)).forget(_id(request))
        return JSONResponse({"id": _id(request), "object": "response", "deleted": True})

    async def _input_items(self, request: Request) -> Response:
        items = self._responses.conversations(self._project(request)).asked(_id(request))
        return JSONResponse({"object": "list", "data": items, "has_more": False})

    def _project(self, request: Request) -> str | None:
        caller = self._admission.admit(request.scope)
        return caller.registration.name if caller else None


def _id(request: Request) -> str:
    return str(request.path_params["id"])
