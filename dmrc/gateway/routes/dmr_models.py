"""Docker Model Runner's routes under `/models`: list, show, pull, push, tag, repackage and remove.

Source: https://docs.docker.com/ai/model-runner/api-reference/#docker-model-management-endpoints
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from dmrc.errors import InputError, NotFoundError
from dmrc.gateway.routes.dmr_engines import unload
from dmrc.gateway.routes.management import admit_manager, flag_in, text_in
from dmrc.gateway.routes.progress_events import ModelEvents
from dmrc.gateway.routes.transfers import Transfers
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.request_bodies import document_of
from dmrc.gguf import format_size
from dmrc.models import Models, Parts, describe
from dmrc.reference import Reference
from dmrc.scheduler.scheduler import Scheduler
from dmrc.sources import Progress


class DmrModels:
    """The handlers. They are for the user of this machine: no service's key opens them, and so no container does.

    A pull or push ends when its caller goes away, as `docker pull` does; a new one goes on with what came.
    """

    def __init__(
        self, admission: Admission, models: Models, scheduler: Scheduler, default_registry: str, transfers: Transfers
    ) -> None:
        """Work on `models`; a model that `scheduler` runs stays; `transfers` runs pulls and pushes."""
        self._transfers = transfers
        self._admission = admission
        self._models = models
        self._store = models.store
        self._scheduler = scheduler
        self._default_registry = default_registry

    def add_to(self, app: FastAPI) -> None:
        """Add the routes; the order matters, for a name may hold slashes."""
        routes: tuple[tuple[str, str, Callable[[Request], Awaitable[Response]]], ...] = (
            ("GET", "/models", self._list),
            ("GET", "/models/{name:path}", self._show),
            ("POST", "/models/create", self._create),
            ("POST", "/models/{name:path}/{action}", self._act),
            ("DELETE", "/models/purge", self._purge),
            ("DELETE", "/models/{name:path}", self._remove),
        )
        for method, path, handler in routes:
            app.add_api_route(path, handler, methods=[method], response_model=None)

    async def _list(self, request: Request) -> Response:
        self._admit(request)
        return JSONResponse([describe(model) for model in await asyncio.to_thread(self._store.models)])

    async def _show(self, request: Request) -> Response:
        self._admit(request)
        name = request.path_params["name"]
        if flag_in(request, "remote"):
            return JSONResponse(describe(await asyncio.to_thread(self._models.look, name)))
        return JSONResponse(describe(await asyncio.to_thread(self._store.resolve, name, self._default_registry)))

    async def _create(self, request: Request) -> Response:
        self._admit(request)
        name = text_in(await document_of(request), "from")

        def pull(progress: Progress, cancelled: Callable[[], bool]) -> str:
            pulled = self._models.pull(name, progress, refresh=True, cancelled=cancelled)
            if not pulled.was_present:
                return "Model pulled successfully"
            model = self._store.resolve(pulled.digest)
            return f"Using cached model: {format_size(model.size_bytes)}"

        return await self._transfers.streamed(ModelEvents("pull"), pull, request)

    async def _act(self, request: Request) -> Response:
        self._admit(request)
        name, action = request.path_params["name"], request.path_params["action"]
        if action == "tag":
            return await self._tag(name, request.query_params)
        if action == "repackage":
            return await self._repackage(name, await document_of(request))
        if action != "push":
            raise NotFoundError(f'unknown action "{action}"')

        def push(progress: Progress, cancelled: Callable[[], bool]) -> str:
            self._models.push(name, progress, cancelled=cancelled)
            return "Model pushed successfully"

        return await self._transfers.streamed(ModelEvents("push"), push, request)

    async def _tag(self, name: str, query: Mapping[str, str]) -> Response:
        repository, tag = query.get("repo"), query.get("tag")
        if not repository or not tag:
            raise InputError("missing repo or tag query parameter", remedy="Send ?repo=ai/smollm2&tag=latest")
        target = f"{repository}:{tag}"
        reference = Reference.parse(target, default_registry=self._default_registry)
        model = await asyncio.to_thread(self._store.resolve, name, self._default_registry)
        await asyncio.to_thread(self._store.tag, model, reference)
        return JSONResponse({"message": f'Model tagged successfully with "{target}"', "target": target}, 201)

    async def _repackage(self, name: str, document: Mapping[str, object]) -> Response:
        target, context_size = text_in(document, "target"), document.get("context_size")
        if context_size is not None and not isinstance(context_size, int):
            raise InputError("'context_size' is no number of tokens")
        base = await asyncio.to_thread(self._store.resolve, name, self._default_registry)
        await asyncio.to_thread(self._models.package, Parts(base=base, context_size=context_size), target)
        told = {"message": f'Model repackaged successfully as "{target}"', "source": name, "target": target}
        return JSONResponse(told, 201)

    async def _purge(self, request: Request) -> Response:
        """Remove all models, and first the runners that serve them."""
        self._admit(request)
        digests = {model.digest for model in await asyncio.to_thread(self._store.models)}
        for runner in self._scheduler.runners():
            if runner.target.digest in digests:
                await self._scheduler.unload(runner)
        for digest in digests:
            await asyncio.to_thread(self._store.remove, digest, force=True)
        return Response()

    async def _remove(self, request: Request) -> Response:
        """Remove a name, and with the last one the model; one that runs is unloaded, or finishes what it does."""
        self._admit(request)
        name, force = request.path_params["name"], flag_in(request, "force")
        model = await asyncio.to_thread(self._store.resolve, name, self._default_registry)
        if force or len(model.tags) <= 1:
            running = [runner for runner in self._scheduler.runners() if runner.target.digest == model.digest]
            await unload(self._scheduler, running, wait=False)
        removed = await asyncio.to_thread(
            self._store.remove, name, force=force, default_registry=self._default_registry
        )
        rows = [{"Untagged": tag} for tag in removed.untagged] + [{"Deleted": digest} for digest in removed.deleted]
        return JSONResponse(rows)

    def _admit(self, request: Request) -> None:
        admit_manager(self._admission, request)
