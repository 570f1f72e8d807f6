"""`GET /openapi.json`: what the routes take and answer, all but those of inference, which others have described.

On loopback only: a container has no use for it.

The admin API is not in it, for no listener of TCP serves it; its socket has a document of its own, at the same path.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Scope

from dmrc import __version__
from dmrc.errors import PermissionDeniedError
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.typed_routes import include, route_class, typed_router

PATH = "/openapi.json"
"""Where it is."""


class Description:
    """The handler; the document is made when it is asked for first."""

    def __init__(self, admission: Admission, routes: Callable[[], Sequence[BaseRoute]]) -> None:
        """Describe what `routes` returns."""
        self._admission = admission
        self._routes = routes
        self._document: bytes | None = None

    def add_to(self, app: FastAPI) -> None:
        """Add the route."""
        router = typed_router(route_class(self._admit), "dmrc")
        router.get(PATH, include_in_schema=False)(self.describe)
        include(app, router)

    async def describe(self) -> Response:
        """Return the document."""
        if self._document is None:
            self._document = await asyncio.to_thread(self._written)
        return Response(self._document, media_type="application/json")

    def _written(self) -> bytes:
        return json.dumps(get_openapi(title="dmrc", version=__version__, routes=self._routes())).encode()

    def _admit(self, scope: Scope) -> None:
        if self._admission.admit(scope) is not None or scope["dmrc.listener"] != "loopback":
            raise PermissionDeniedError("a service may not read how dmrc is managed", remedy="Ask on the host")
