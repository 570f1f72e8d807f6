"""The models that a caller may use, as Anthropic lists them: `/anthropic/v1/models`.

Source: https://docs.anthropic.com/en/api/models-list
"""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from dmrc.errors import ModelNotFoundError
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.serving.catalog import Catalog
from dmrc.store import StoredModel

_PATH = "/anthropic/v1/models"


class AnthropicModels:
    """The handlers."""

    def __init__(self, admission: Admission, catalog: Catalog) -> None:
        """List what `catalog` knows for who is admitted."""
        self._admission = admission
        self._catalog = catalog

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        app.add_api_route(_PATH, self._list, methods=["GET"], response_model=None)
        app.add_api_route(f"{_PATH}/{{name:path}}", self._show, methods=["GET"], response_model=None)

    def _list(self, request: Request) -> Response:
        models = [_told(*one) for one in self._catalog.names(self._admission.admit(request.scope))]
        ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"]} if models else {}
        return JSONResponse({"data": models, "has_more": False, "first_id": None, "last_id": None, **ends})

    def _show(self, request: Request) -> Response:
        wanted = request.path_params["name"]
        caller = self._admission.admit(request.scope)
        target = self._catalog.resolve(caller, wanted, None).target
        for name, model in self._catalog.names(caller):
            if (name == target.reference) if model is None else (model.digest == target.digest):
                return JSONResponse(_told(wanted, model))
        raise ModelNotFoundError(f"model '{wanted}' is not in the store")


def _told(name: str, model: StoredModel | None) -> dict[str, object]:
    created = datetime.fromtimestamp(0, UTC)
    if model is not None:
        created = model.created or datetime.fromtimestamp(model.pulled_at or 0, UTC)
    created_at = created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": name, "display_name": name, "created_at": created_at, "lifecycle": "active"}
