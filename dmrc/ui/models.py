"""The pages of models: what is pulled, what runs, what is stored, one model, and the log of a runner."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from dmrc.background import begin
from dmrc.errors import CancelledError, DmrcError, NotFoundError
from dmrc.gateway.routes.admin_documents import RunnerDocument
from dmrc.gateway.routes.replica_logs import replica_log
from dmrc.models.description import describe
from dmrc.project import DEFAULT_ENGINE, ServingOptions
from dmrc.scheduler.description import describe_runner
from dmrc.ui.documents import (
    HTML,
    CancelledPull,
    CancelPull,
    EndedRunners,
    EndRunner,
    LoadModel,
    LogPart,
    ModelsNow,
    PulledDocument,
    PullModel,
)
from dmrc.ui.log_parts import log_part
from dmrc.ui.model_views import FailedPull, ModelViews
from dmrc.ui.rendering import page, render

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts
    from dmrc.models import Pulled

_log = logging.getLogger(__name__)

_LOG_LINES = 500
_MOST_FAILED = 5


class ModelPages:
    """The handlers. Removing is the gateway's own route, which the page's scripts call."""

    def __init__(self, parts: DaemonParts) -> None:
        """Show the store, and what the scheduler runs."""
        self._parts = parts
        self._views = ModelViews(parts)
        self._failed: deque[FailedPull] = deque(maxlen=_MOST_FAILED)

    def add_to(self, router: APIRouter) -> None:
        """Add the routes; the order matters, for a name may hold slashes."""
        router.get("/ui/models", response_class=Response, responses=HTML)(self.index)
        router.get("/ui/models/now", response_model=ModelsNow)(self.now)
        router.get("/ui/models/stored", response_class=Response, responses=HTML)(self.stored)
        router.post("/ui/models/load", response_model=RunnerDocument)(self.load)
        router.post("/ui/models/unload", response_model=EndedRunners)(self.unload)
        router.post("/ui/models/pull", response_model=PulledDocument)(self.pull)
        router.post("/ui/models/pull/cancel", response_model=CancelledPull)(self.cancel_pull)
        router.get("/ui/models/{name:path}", response_class=Response, responses=HTML)(self.show)
        router.get("/ui/logs/{id}", response_class=Response, responses=HTML)(self.log)
        router.get("/ui/logs/{id}/part", response_model=LogPart)(self.log_part)

    async def index(self) -> Response:
        """Return the page of all models; its script asks for what takes longer to find out."""
        self._ask_for_cards()
        return page(
            "models.html",
            here="models",
            stored=await self._views.stored(),
            running=self._views.running(),
            spaces=await self._views.spaces(),
            pulls=await self._views.pulls(),
            failed=self._failed,
        )

    async def now(self) -> dict[str, str]:
        """Return what changes by itself: pulls, memory and runners as parts of a page, and which store this is."""
        pulls = await self._views.pulls()
        return {
            "pulls": render("pulls.html", pulls=pulls, failed=self._failed),
            "spaces": render("spaces.html", spaces=await self._views.spaces()),
            "running": render("running.html", running=self._views.running()),
            "store": str(self._parts.models.store.version()),
            "runners": ",".join(sorted(runner.key for runner in self._parts.scheduler.runners())),
        }

    async def stored(self) -> Response:
        """Return the table of the store without a page, with what each model needs."""
        rows = await self._views.looked_at(await self._views.stored())
        return HTMLResponse(render("stored.html", stored=rows))

    async def show(self, name: str) -> Response:
        """Return the page of one model."""
        parts = self._parts
        model = await asyncio.to_thread(parts.models.store.resolve, name, parts.settings.default_registry)
        running = self._views.running()
        runners = [runner for runner in running.runners if runner["digest"] == model.digest]
        pulled_at = (
            None if model.pulled_at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(model.pulled_at))
        )
        [row] = await self._views.looked_at([self._views.row(model)])
        target = (await parts.catalog.resolved(None, row.name, None)).target
        return page(
            "model.html",
            here="models",
            name=name,
            row=row,
            document=describe(model),
            blobs=model.manifest.blobs,
            pulled_at=pulled_at,
            usual=target.context_size,
            contexts=await parts.scheduler.outlook.by_context(target),
            running=replace(running, runners=runners),
        )

    async def log(self, id: str, replica: str | None = None) -> Response:
        """Return the last lines that a runner wrote, or one of its replicas."""
        known = next((runner for runner in self._views.runners() if runner["id"] == id), None)
        if known is None:
            raise NotFoundError(f"there is no runner '{id}' any more", remedy="See: dmrc logs MODEL")
        part = await self.log_part(id, replica=replica)
        return page("log.html", here="models", runner=known, replica=replica, text=part["text"])

    async def log_part(
        self, id: str, after: Annotated[str, Query()] = "", replica: Annotated[str | None, Query()] = None
    ) -> dict[str, object]:
        """Return what a runner wrote after a place in its log, or its last lines.

        The whole of the last lines is returned again of a replica, whose log is elsewhere.
        """
        runs = any(runner.key == id for runner in self._parts.scheduler.runners())
        if replica is not None:
            text = await replica_log(self._parts.scheduler, id, replica, _LOG_LINES)
            return {"text": text, "next": "", "runs": runs}
        path = self._parts.settings.paths.logs / f"runner-{Path(id).name}.log"
        text, following = await asyncio.to_thread(log_part, path, after, _LOG_LINES)
        return {"text": text, "next": following, "runs": runs}

    async def load(self, body: LoadModel) -> dict[str, object]:
        """Load a model; answers when it is ready."""
        target = (await self._parts.catalog.resolved(None, body.model, None)).target
        return describe_runner(await self._parts.scheduler.load(target))

    async def unload(self, body: EndRunner) -> dict[str, int]:
        """End a runner."""
        found = [runner for runner in self._parts.scheduler.runners() if runner.key == body.id]
        for runner in found:
            await self._parts.scheduler.unload(runner)
        return {"unloaded": len(found)}

    async def pull(self, body: PullModel) -> dict[str, object]:
        """Pull a model, and answer when it is here. The pull goes on where nobody waits for the answer any more."""
        self.put_away(body.model)
        work = self._parts.transfers.run(lambda cancelled: self._pulled(body.model, cancelled))
        task = begin(self._told(body.model, work), "a pull of the page", expected=DmrcError)
        pulled = await asyncio.shield(task)
        return {"reference": pulled.reference, "size_bytes": pulled.size_bytes, "was_present": pulled.was_present}

    async def cancel_pull(self, body: CancelPull) -> dict[str, bool]:
        """Cancel a pull that runs in the daemon, or put away one that failed."""
        if body.model is not None:
            self.put_away(body.model)
        return {"cancelled": body.id is not None and self._parts.models.pulls.cancel(body.id)}

    def put_away(self, model: str) -> None:
        """Show no more that a pull of this model failed."""
        for failed in [one for one in self._failed if one.model == model]:
            self._failed.remove(failed)

    def _pulled(self, model: str, cancelled: Callable[[], bool]) -> Pulled:
        return self._parts.models.pull(model, refresh=True, cancelled=cancelled)

    async def _told(self, model: str, work: Awaitable[Pulled]) -> Pulled:
        """Wait for a pull, and keep why it failed for who looks later."""
        try:
            return await work
        except CancelledError:
            raise
        except DmrcError as error:
            _log.warning("%s", error)
            self._failed.append(FailedPull(model, str(error)))
            raise

    def _ask_for_cards(self) -> None:
        """Ask the usual engine for its cards where nothing was loaded yet: the next look has them."""
        scheduler = self._parts.scheduler
        engine = scheduler.outlook.engines.get(DEFAULT_ENGINE)
        if engine is not None and DEFAULT_ENGINE not in scheduler.devices.last:
            begin(scheduler.devices.ask(engine, ServingOptions()), "a look at the cards", expected=DmrcError)
