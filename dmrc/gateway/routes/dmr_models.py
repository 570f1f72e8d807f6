"""Docker Model Runner's routes under `/models`: list, show, pull, push, tag, repackage and remove.

Source: https://docs.docker.com/ai/model-runner/api-reference/#docker-model-management-endpoints
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.responses import Response

from dmrc.errors import InputError, NotFoundError
from dmrc.exchange import JsonValue
from dmrc.gateway.routes.dmr_documents import LINES, Create, DmrModel, DmrRemoved, Repackage, Repackaged, Tagged
from dmrc.gateway.routes.dmr_engines import unload
from dmrc.gateway.routes.error_documents import OpenAIError
from dmrc.gateway.routes.management import admit_manager
from dmrc.gateway.routes.progress_events import ModelEvents
from dmrc.gateway.routes.transfers import Transfers
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.typed_routes import QueryFlag, include, route_class, typed_router
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
        admit = admit_manager(self._admission)
        router = typed_router(route_class(admit), "Docker Model Runner", OpenAIError)
        # Docker Model Runner's client takes 422 of a pull for a model that is too new for it, and says so:
        # https://github.com/docker/model-runner/blob/main/cmd/cli/desktop/desktop.go (`Pull`)
        pulling = typed_router(route_class(admit, bad_body=400), "Docker Model Runner", OpenAIError)
        router.get("/models", response_model=list[DmrModel])(self.models)
        router.get("/models/{name:path}", response_model=DmrModel)(self.show)
        pulling.post("/models/create", responses=LINES, response_class=Response)(self.create)
        router.post("/models/{name:path}/tag", status_code=201, response_model=Tagged)(self.tag)
        router.post("/models/{name:path}/repackage", status_code=201, response_model=Repackaged)(self.repackage)
        router.post("/models/{name:path}/push", responses=LINES, response_class=Response)(self.push)
        router.post("/models/{name:path}/{action}", include_in_schema=False)(self.act)
        router.delete("/models/purge", response_class=Response)(self.purge)
        router.delete("/models/{name:path}", response_model=list[DmrRemoved])(self.remove)
        include(app, pulling)
        include(app, router)

    async def models(self) -> list[dict[str, JsonValue]]:
        """Return the models of the store."""
        return [describe(model) for model in await asyncio.to_thread(self._store.models)]

    async def show(self, name: str, remote: QueryFlag = False) -> dict[str, JsonValue]:
        """Return one model, with `remote` as its registry has it."""
        if remote:
            return describe(await self._transfers.run(lambda _cancelled: self._models.look(name)))
        return describe(await asyncio.to_thread(self._store.resolve, name, self._default_registry))

    async def create(self, request: Request, body: Create) -> Response:
        """Pull a model."""

        def pull(progress: Progress, cancelled: Callable[[], bool]) -> str:
            pulled = self._models.pull(body.model, progress, refresh=True, cancelled=cancelled)
            if not pulled.was_present:
                return "Model pulled successfully"
            model = self._store.resolve(pulled.digest)
            return f"Using cached model: {format_size(model.size_bytes)}"

        return await self._transfers.streamed(ModelEvents("pull"), pull, request)

    async def push(self, request: Request, name: str) -> Response:
        """Push a model to the registry that its name says; a body has no say."""

        def push(progress: Progress, cancelled: Callable[[], bool]) -> str:
            self._models.push(name, progress, cancelled=cancelled)
            return "Model pushed successfully"

        return await self._transfers.streamed(ModelEvents("push"), push, request)

    async def act(self, name: str, action: str) -> Response:
        """Refuse any other action."""
        del name
        raise NotFoundError(f'unknown action "{action}"')

    async def tag(self, name: str, repo: str = "", tag: str = "") -> dict[str, str]:
        """Give a model another name, `repo:tag`."""
        if not repo or not tag:
            raise InputError("missing repo or tag query parameter", remedy="Send ?repo=ai/smollm2&tag=latest")
        target = f"{repo}:{tag}"
        reference = Reference.parse(target, default_registry=self._default_registry)
        model = await asyncio.to_thread(self._store.resolve, name, self._default_registry)
        await self._transfers.run(lambda _cancelled: self._store.tag(model, reference))
        return {"message": f'Model tagged successfully with "{target}"', "target": target}

    async def repackage(self, name: str, body: Repackage) -> dict[str, str]:
        """Make a variant of a model."""
        base = await asyncio.to_thread(self._store.resolve, name, self._default_registry)
        parts = Parts(base=base, context_size=body.context_size)
        await self._transfers.run(lambda _cancelled: self._models.package(parts, body.target))
        message = f'Model repackaged successfully as "{body.target}"'
        return {"message": message, "source": name, "target": body.target}

    async def purge(self) -> Response:
        """Remove all models, and first the runners that serve them."""
        digests = {model.digest for model in await asyncio.to_thread(self._store.models)}
        for runner in self._scheduler.runners():
            if runner.target.digest in digests:
                await self._scheduler.unload(runner)
        for digest in digests:
            self._scheduler.starts.kept.forget_model(digest)
        await self._transfers.run(lambda _cancelled: [self._store.remove(one, force=True) for one in digests])
        return Response()

    async def remove(self, name: str, force: QueryFlag = False) -> list[dict[str, str]]:
        """Remove a name, and with the last one the model; one that runs is unloaded, or finishes what it does."""
        model = await asyncio.to_thread(self._store.resolve, name, self._default_registry)
        if force or len(model.tags) <= 1:
            running = {one.key for one in self._scheduler.runners() if one.target.digest == model.digest}
            await unload(self._scheduler, running, wait=False)
            self._scheduler.starts.kept.forget_model(model.digest)
        removed = await self._transfers.run(
            lambda _cancelled: self._store.remove(name, force=force, default_registry=self._default_registry)
        )
        return [{"Untagged": tag} for tag in removed.untagged] + [{"Deleted": digest} for digest in removed.deleted]
