"""The pages of models: what is stored, what runs, one model, and the log of a runner."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from dmrc.errors import InvalidReferenceError, NotFoundError
from dmrc.gateway.routes.admin_documents import RunnerDocument
from dmrc.gateway.routes.replica_logs import replica_log
from dmrc.models.description import describe, trained_context
from dmrc.reference import Reference
from dmrc.scheduler.description import describe_runner
from dmrc.ui.documents import HTML, EndedRunners, EndRunner, LoadModel
from dmrc.ui.rendering import page, render

if TYPE_CHECKING:
    from dmrc.engines.devices import Device
    from dmrc.gateway.plugins.context import DaemonParts
    from dmrc.store import StoredModel

_LOG_LINES = 500


@dataclass(frozen=True, slots=True)
class RunningTable:
    """What `running.html` shows."""

    runners: Sequence[Mapping[str, object]]
    """As `describe_runner` has them, each with the `name` that it is shown by."""
    cards: Sequence[tuple[Device, float]]
    """The graphics cards as engines saw them last, and in which Unix second."""
    now: float
    """The Unix second of this page."""


class ModelPages:
    """The handlers. Pulling and removing are the gateway's own routes, which the page's scripts call."""

    def __init__(self, parts: DaemonParts) -> None:
        """Show the store, and what the scheduler runs."""
        self._parts = parts
        self._registry = parts.settings.default_registry

    def add_to(self, router: APIRouter) -> None:
        """Add the routes; the order matters, for a name may hold slashes."""
        router.get("/ui/models", response_class=Response, responses=HTML)(self.index)
        router.get("/ui/models/running", response_class=Response, responses=HTML)(self.running)
        router.get("/ui/models/stored", response_class=Response, responses=HTML)(self.stored)
        router.post("/ui/models/load", response_model=RunnerDocument)(self.load)
        router.post("/ui/models/unload", response_model=EndedRunners)(self.unload)
        router.get("/ui/models/{name:path}", response_class=Response, responses=HTML)(self.show)
        router.get("/ui/logs/{id}", response_class=Response, responses=HTML)(self.log)

    async def index(self) -> Response:
        """Return the page of all models."""
        stored = await asyncio.to_thread(self._stored)
        return page("models.html", here="models", stored=stored, running=self._running())

    async def running(self) -> Response:
        """Return the table of runners without a page."""
        return HTMLResponse(render("running.html", running=self._running()))

    async def stored(self) -> Response:
        """Return the table of the store without a page."""
        return HTMLResponse(render("stored.html", stored=await asyncio.to_thread(self._stored)))

    async def show(self, name: str) -> Response:
        """Return the page of one model."""
        model = await asyncio.to_thread(self._parts.models.store.resolve, name, self._registry)
        runners = [runner for runner in self._runners() if runner["digest"] == model.digest]
        pulled_at = (
            None if model.pulled_at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(model.pulled_at))
        )
        return page(
            "model.html",
            here="models",
            name=name,
            row=self._row(model),
            document=describe(model),
            blobs=model.manifest.blobs,
            pulled_at=pulled_at,
            running=replace(self._running(), runners=runners),
        )

    async def log(self, id: str, replica: str | None = None) -> Response:
        """Return the last lines that a runner wrote, or one of its replicas."""
        known = next((runner for runner in self._runners() if runner["id"] == id), None)
        if known is None:
            raise NotFoundError(f"there is no runner '{id}' any more", remedy="See: dmrc logs MODEL")
        if replica is not None:
            text = await replica_log(self._parts.scheduler, id, replica, _LOG_LINES)
            lines = text.splitlines(keepends=True)
        else:
            lines = await asyncio.to_thread(_tail, self._parts.settings.paths.logs / f"runner-{id}.log")
        return page("log.html", here="models", runner=known, replica=replica, lines=lines)

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

    def _running(self) -> RunningTable:
        seen = sorted(self._parts.scheduler.devices.last.values(), key=lambda answer: answer.at)
        cards = {device.name: (device, answer.at) for answer in seen for device in answer.devices}
        return RunningTable(self._runners(), tuple(cards.values()), time.time())

    def _runners(self) -> list[dict[str, object]]:
        return [
            {**describe_runner(runner), "name": self._display(runner.target.reference)}
            for runner in self._parts.scheduler.runners()
        ]

    def _stored(self) -> list[dict[str, object]]:
        rows = [self._row(model) for model in self._parts.models.store.models()]
        return sorted(rows, key=lambda row: str(row["name"]))

    def _display(self, tag: str) -> str:
        try:
            return Reference.parse(tag).display(default_registry=self._registry)
        except InvalidReferenceError:
            return tag  # the model of an upstream, which has names of its own

    def _row(self, model: StoredModel) -> dict[str, object]:
        names = [self._display(tag) for tag in model.tags]
        return {
            "name": names[0] if names else model.digest,
            "names": names,
            "digest": model.digest,
            "parameters": model.config.parameters or "-",
            "quantization": model.config.quantization or "-",
            "architecture": model.config.architecture or "-",
            "context": model.config.context_size or trained_context(model) or "-",
            "size_bytes": model.size_bytes,
        }


def _tail(path: Path) -> list[str]:
    try:
        with path.open(errors="replace") as file:
            return list(deque(file, maxlen=_LOG_LINES))
    except FileNotFoundError:
        return []
