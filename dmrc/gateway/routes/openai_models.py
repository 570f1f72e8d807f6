"""The models that a caller may use, as OpenAI lists them: `/v1/models`."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import FastAPI
from pydantic import Field

from dmrc.errors import ModelNotFoundError
from dmrc.exchange import JsonValue
from dmrc.gateway.routes.documents import AnswerDocument
from dmrc.gateway.routes.error_documents import OpenAIError
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.typed_routes import CallerOf, include, repeat, route_class, typed_router
from dmrc.gateway.serving.catalog import Catalog
from dmrc.models import openai_model


class OpenAIModelFacts(AnswerDocument):
    """What Docker Model Runner tells of a model."""

    context_window: int | None = Field(description="Tokens")
    architecture: str
    parameters: str
    quantization: str
    size: str = Field(description="As a person reads it: `268.80 MB`")


class OpenAIModel(AnswerDocument):
    """A model; one of an upstream has no `dmr`."""

    id: str = Field(description="What to ask for")
    object: str = Field(description="`model`")
    created: int = Field(description="Unix seconds")
    owned_by: str
    dmr: OpenAIModelFacts | None = None


class OpenAIModelList(AnswerDocument):
    """All models."""

    object: str = Field(description="`list`")
    data: list[OpenAIModel]


class OpenAIModels:
    """The handlers."""

    def __init__(self, admission: Admission, catalog: Catalog, prefixes: Iterable[str]) -> None:
        """List what `catalog` knows for who is admitted, below each of `prefixes`."""
        self._admission = admission
        self._catalog = catalog
        self._prefixes = tuple(prefixes)

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        router = typed_router(route_class(self._admission.admit), "OpenAI", OpenAIError)
        first, *others = self._prefixes
        router.get(f"{first}/models", response_model=OpenAIModelList)(self.models)
        router.get(f"{first}/models/{{name:path}}", response_model=OpenAIModel)(self.model)
        repeat(router, first, others)
        # Docker Model Runner lists its models for an engine of any name.
        router.get("/engines/{engine}/v1/models", response_model=OpenAIModelList)(self.models_beside)
        include(app, router)

    async def models(self, caller: CallerOf) -> dict[str, object]:
        """Return the models that the caller may use."""
        names = await self._catalog.names(caller)
        return {"object": "list", "data": [openai_model(name, model) for name, model in names]}

    async def models_beside(self, caller: CallerOf, engine: str) -> dict[str, object]:
        """Return the same, whatever the engine is called."""
        del engine
        return await self.models(caller)

    async def model(self, caller: CallerOf, name: str) -> dict[str, JsonValue]:
        """Return one of them."""
        target = (await self._catalog.resolved(caller, name, None)).target
        named = await self._catalog.names(caller)
        for known, stored in sorted(named, key=lambda pair: pair[0] != name):
            if (known in (name, target.reference)) if stored is None else (stored.digest == target.digest):
                return openai_model(known, stored)
        raise ModelNotFoundError(f"model '{name}' is not in the store")
