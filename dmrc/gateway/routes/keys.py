"""The routes of the admin API behind `dmrc key`."""

from __future__ import annotations

import time
from dataclasses import replace

from fastapi import APIRouter

from dmrc.gateway.projects.keys import Keys, NamedKey
from dmrc.gateway.routes.admin_documents import Done, Key, KeyForm


class KeyRoutes:
    """The handlers; the key itself never comes here."""

    def __init__(self, keys: Keys) -> None:
        """Show and change these keys."""
        self._keys = keys

    def add_to(self, router: APIRouter) -> None:
        router.get("/keys", response_model=list[Key])(self.list)
        router.post("/keys", response_model=Key)(self.create)
        router.delete("/keys/{name}", response_model=Done)(self.revoke)

    async def list(self) -> list[dict[str, object]]:
        """Return the keys without their hashes, the oldest first."""
        return [_document(key) for key in self._keys.all()]

    async def create(self, wish: KeyForm) -> dict[str, object]:
        """Take a key; its time is ours."""
        key = replace(wish, created_at=time.time())
        self._keys.add(key)
        return _document(key)

    async def revoke(self, name: str) -> dict[str, object]:
        """End a key."""
        self._keys.revoke(name)
        return {}


def _document(key: NamedKey) -> dict[str, object]:
    return {"name": key.name, "scope": key.scope, "models": list(key.models), "created_at": key.created_at}
