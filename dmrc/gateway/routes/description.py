"""`GET /openapi.json`: what the routes take and answer, all but those of inference, which others have described.

On loopback only: a container has no use for it.

The admin API is not in it, for no listener of TCP serves it; its socket has a document of its own, at the same path.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute
from starlette.types import Scope

from dmrc import __version__
from dmrc.errors import PermissionDeniedError
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.typed_routes import route_class

PATH = "/openapi.json"
"""Where it is."""


class Description:
    """The handler; the document is made when it is asked for first."""

    def __init__(
        self,
        title: str,
        about: str,
        routes: Callable[[], Sequence[BaseRoute]],
        errors: Sequence[type[BaseModel]],
        admit: Callable[[Scope], None] | None = None,
    ) -> None:
        """Describe what `routes` returns to those whom `admit` lets in, None is everybody.

        `about` is what a reader is told first; `errors` are the forms of errors.
        """
        self._about = about
        self._errors = errors
        self._title = title
        self._admit = admit
        self._routes = routes
        self._document: bytes | None = None

    def add_to(self, app: FastAPI) -> None:
        """Add the route."""
        app.router.routes.append(route_class(self._admit)(PATH, self.describe, include_in_schema=False))

    async def describe(self) -> Response:
        """Return the document."""
        if self._document is None:
            self._document = await asyncio.to_thread(self._written)
        return Response(self._document, media_type="application/json")

    def _written(self) -> bytes:
        document = get_openapi(title=self._title, version=__version__, description=self._about, routes=self._routes())
        answers: Literal["serialization"] = "serialization"
        models = [(each, answers) for each in self._errors]
        _, errors = models_json_schema(models, ref_template="#/components/schemas/{model}")
        document.setdefault("components", {}).setdefault("schemas", {}).update(errors["$defs"])
        return json.dumps(document).encode()


def admit_on_loopback(admission: Admission) -> Callable[[Scope], None]:
    """Return what lets in whoever may manage, and no container; it raises as `admit_manager` does."""

    def admit(scope: Scope) -> None:
        if admission.admit(scope) is not None or scope["dmrc.listener"] != "loopback":
            raise PermissionDeniedError("a service may not read how dmrc is managed", remedy="Ask on the host")

    return admit
