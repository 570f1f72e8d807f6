"""Docker Model Runner's routes for configuration, as its clients call them. On loopback only, and without a key.

Source: https://github.com/docker/model-runner/blob/main/pkg/inference/scheduling/http_handler.go (`DmrConfigure`)
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.types import Scope

from dmrc.errors import ModelNotFoundError, PermissionDeniedError
from dmrc.gateway.routes.dmr_documents import DmrConfigure, DmrConfigured
from dmrc.gateway.routes.error_documents import OpenAIError
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.typed_routes import include, route_class, typed_router
from dmrc.gateway.serving.configure import Configurator


def add_configure_routes(app: FastAPI, admission: Admission, configurator: Configurator) -> None:
    """Add `POST` and `GET /engines/_configure`, and the same with an engine in the path."""

    def admit(scope: Scope) -> None:
        if admission.admit(scope) is not None or scope["dmrc.listener"] != "loopback":
            raise PermissionDeniedError("a service may not configure models", remedy="Run: dmrc configure")

    async def configure(body: DmrConfigure) -> Response:
        """Set what the body says, in place of what was set; Docker Model Runner refuses a busy model, too."""
        await configurator.configure(body.model, None, body.options(None), replace=True)
        return Response(status_code=202)

    async def configure_engine(engine: str, body: DmrConfigure) -> Response:
        """Set what the body says, and which engine serves the model, in place of what was set."""
        await configurator.configure(body.model, None, body.options(engine), replace=True)
        return Response(status_code=202)

    async def configurations(model: str | None = None) -> list[dict[str, object]]:
        """Return how models are served: one, or all that are configured or declared."""
        try:
            return await configurator.show(model)
        except ModelNotFoundError:
            return []

    async def configurations_beside(engine: str, model: str | None = None) -> list[dict[str, object]]:
        """Return the same: Docker Model Runner heeds the engine no more than this does."""
        del engine
        return await configurations(model)

    router = typed_router(route_class(admit), "Docker Model Runner", OpenAIError)
    router.post("/engines/_configure", status_code=202, response_class=Response)(configure)
    router.get("/engines/_configure", response_model=list[DmrConfigured])(configurations)
    router.post("/engines/{engine}/_configure", status_code=202, response_class=Response)(configure_engine)
    router.get("/engines/{engine}/_configure", response_model=list[DmrConfigured])(configurations_beside)
    include(app, router)
