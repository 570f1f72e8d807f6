"""The pages of models: what is stored, what runs, one model, and the log of a runner."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from dmrc.errors import InputError, InvalidReferenceError, NotFoundError
from dmrc.models.description import describe, trained_context
from dmrc.reference import Reference
from dmrc.scheduler.description import describe_runner
from dmrc.ui.rendering import page, render

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts
    from dmrc.store import StoredModel

_LOG_LINES = 500


class ModelPages:
    """The handlers. Pulling and removing are the gateway's own routes, which the page's scripts call."""

    def __init__(self, parts: DaemonParts) -> None:
        """Show the store, and what the scheduler runs."""
        self._parts = parts
        self._registry = parts.settings.default_registry

    async def index(self, _request: Request) -> Response:
        """Return the page of all models."""
        stored = await asyncio.to_thread(self._stored)
        return page("models.html", here="models", stored=stored, runners=self._runners(), now=time.time())

    async def running(self, _request: Request) -> Response:
        """Return the table of runners without a page."""
        return HTMLResponse(render("running.html", runners=self._runners(), now=time.time()))

    async def stored(self, _request: Request) -> Response:
        """Return the table of the store without a page."""
        return HTMLResponse(render("stored.html", stored=await asyncio.to_thread(self._stored)))

    async def show(self, request: Request) -> Response:
        """Return the page of one model."""
        model = await asyncio.to_thread(self._parts.models.store.resolve, request.path_params["name"], self._registry)
        runners = [runner for runner in self._runners() if runner["digest"] == model.digest]
        pulled_at = (
            None if model.pulled_at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(model.pulled_at))
        )
        return page(
            "model.html",
            here="models",
            name=request.path_params["name"],
            row=self._row(model),
            document=describe(model),
            blobs=model.manifest.blobs,
            pulled_at=pulled_at,
            runners=runners,
            now=time.time(),
        )

    async def log(self, request: Request) -> Response:
        """Return the last lines that a runner wrote."""
        id = request.path_params["id"]
        known = next((runner for runner in self._runners() if runner["id"] == id), None)
        if known is None:
            raise NotFoundError(f"there is no runner '{id}' any more", remedy="See: dmrc logs MODEL")
        path = self._parts.settings.paths.logs / f"runner-{id}.log"
        return page("log.html", here="models", runner=known, lines=await asyncio.to_thread(_tail, path))

    async def load(self, request: Request) -> Response:
        """Load a model; answers when it is ready."""
        name = await _named(request, "model")
        target = (await self._parts.catalog.resolved(None, name, None)).target
        return JSONResponse(describe_runner(await self._parts.scheduler.load(target)))

    async def unload(self, request: Request) -> Response:
        """End a runner."""
        id = await _named(request, "id")
        found = [runner for runner in self._parts.scheduler.runners() if runner.key == id]
        for runner in found:
            await self._parts.scheduler.unload(runner)
        return JSONResponse({"unloaded": len(found)})

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


async def _named(request: Request, key: str) -> str:
    """Return one text of a body: `{"model": "ai/smollm2"}`.

    Raises:
        InputError: It is not there.
    """
    try:
        document = await request.json()
    except (ValueError, RecursionError) as error:
        raise InputError(f"the request body is not JSON: {error}") from error
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, str) or not value:
        raise InputError(f"'{key}' is missing from the request body")
    return value


def _tail(path: Path) -> list[str]:
    try:
        with path.open(errors="replace") as file:
            return list(deque(file, maxlen=_LOG_LINES))
    except FileNotFoundError:
        return []
