"""The models that a caller may use, as Anthropic lists them: `/anthropic/v1/models`.

Source: https://docs.anthropic.com/en/api/models-list
"""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import FastAPI
from pydantic import Field

from dmrc.errors import ModelNotFoundError
from dmrc.gateway.routes.documents import AnswerDocument
from dmrc.gateway.routes.error_documents import AnthropicError
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.typed_routes import CallerOf, include, route_class, typed_router
from dmrc.gateway.serving.catalog import Catalog
from dmrc.store import StoredModel

_PATH = "/anthropic/v1/models"


class AnthropicModel(AnswerDocument):
    """A model."""

    type: str = Field(description="`model`")
    id: str
    display_name: str = Field(description="The same as `id`")
    created_at: str = Field(description="When it was packaged or pulled, in RFC 3339")
    lifecycle: str = Field(description="`active`")


class AnthropicModelList(AnswerDocument):
    """All models; there is one page."""

    data: list[AnthropicModel]
    has_more: bool
    first_id: str | None
    last_id: str | None


class AnthropicModels:
    """The handlers."""

    def __init__(self, admission: Admission, catalog: Catalog) -> None:
        """List what `catalog` knows for who is admitted."""
        self._admission = admission
        self._catalog = catalog

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        router = typed_router(route_class(self._admission.admit), "Anthropic", AnthropicError)
        router.get(_PATH, response_model=AnthropicModelList)(self.models)
        router.get(f"{_PATH}/{{name:path}}", response_model=AnthropicModel)(self.model)
        include(app, router)

    async def models(self, caller: CallerOf) -> dict[str, object]:
        """Return the models that the caller may use."""
        models = [_told(*one) for one in await self._catalog.names(caller)]
        ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"]} if models else {}
        return {"data": models, "has_more": False, "first_id": None, "last_id": None, **ends}

    async def model(self, caller: CallerOf, name: str) -> dict[str, object]:
        """Return one of them."""
        target = (await self._catalog.resolved(caller, name, None)).target
        for known, model in await self._catalog.names(caller):
            if (known == target.reference) if model is None else (model.digest == target.digest):
                return _told(name, model)
        raise ModelNotFoundError(f"model '{name}' is not in the store")


def _told(name: str, model: StoredModel | None) -> dict[str, object]:
    created = datetime.fromtimestamp(0, UTC)
    if model is not None:
        created = model.created or datetime.fromtimestamp(model.pulled_at or 0, UTC)
    created_at = created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": name, "display_name": name, "created_at": created_at, "lifecycle": "active"}
