"""The routes of the admin API behind `dmrc key`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from dmrc.gateway.projects.keys import Keys, NamedKey

if TYPE_CHECKING:
    from dmrc.gateway.routes.admin import Handler


class KeyRoutes:
    """The handlers; the key itself never comes here."""

    def __init__(self, keys: Keys) -> None:
        """Show and change these keys."""
        self._keys = keys

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Return method, path and handler of each."""
        return [
            ("GET", "/keys", self.list),
            ("POST", "/keys", self.create),
            ("DELETE", "/keys/{name}", self.revoke),
        ]

    async def list(self, _request: Request) -> Response:
        """Return the keys without their hashes, the oldest first."""
        return JSONResponse([_document(key) for key in self._keys.all()])

    async def create(self, request: Request) -> Response:
        """Take a `NamedKey` as JSON; its time is ours."""
        key = replace(NamedKey.from_json(await request.body()), created_at=time.time())
        self._keys.add(key)
        return JSONResponse(_document(key))

    async def revoke(self, request: Request) -> Response:
        """End a key."""
        self._keys.revoke(request.path_params["name"])
        return JSONResponse({})


def _document(key: NamedKey) -> dict[str, object]:
    return {"name": key.name, "scope": key.scope, "models": list(key.models), "created_at": key.created_at}
