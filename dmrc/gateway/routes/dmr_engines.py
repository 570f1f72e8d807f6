"""Docker Model Runner's routes about engines and what runs, below `/engines`; and `/version`.

Source: https://github.com/docker/model-runner/blob/main/pkg/inference/scheduling/http_handler.go
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from dmrc import __version__
from dmrc.engines.engine import Engine, backend_state
from dmrc.engines.llama_cpp.engine import wheel_bytes
from dmrc.errors import ModelNotFoundError, NotFoundError, UnsupportedError
from dmrc.fields import strings
from dmrc.gateway.routes.management import admit_manager, text_in
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.request_bodies import document_of
from dmrc.gateway.serving.catalog import Catalog
from dmrc.project import DEFAULT_ENGINE
from dmrc.scheduler.description import go_duration
from dmrc.scheduler.runner import Runner, State
from dmrc.scheduler.scheduler import Scheduler
from dmrc.store import Store

_NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: what is in use was not used last at any time."""


class DmrEngines:
    """The handlers. They are for the user of this machine: no service's key opens them, and so no container does."""

    def __init__(
        self, admission: Admission, store: Store, scheduler: Scheduler, catalog: Catalog, engines: Mapping[str, Engine]
    ) -> None:
        """Tell of the runners of `scheduler`, and of `engines`."""
        self._admission = admission
        self._store = store
        self._scheduler = scheduler
        self._catalog = catalog
        self._engines = engines

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        routes: tuple[tuple[str, str, Callable[[Request], Awaitable[Response]]], ...] = (
            ("GET", "/version", self._version),
            ("GET", "/engines/status", self._status),
            ("GET", "/engines/ps", self._ps),
            ("GET", "/engines/df", self._df),
            ("POST", "/engines/unload", self._unload),
            ("POST", "/engines/install-backend", self._install),
            ("POST", "/engines/uninstall-backend", self._uninstall),
        )
        for method, path, handler in routes:
            app.add_api_route(path, handler, methods=[method], response_model=None)

    async def _version(self, request: Request) -> Response:
        admit_manager(self._admission, request)
        return JSONResponse({"version": __version__})

    async def _status(self, request: Request) -> Response:
        admit_manager(self._admission, request)
        descriptions = {name: await asyncio.to_thread(engine.describe) for name, engine in self._engines.items()}
        return JSONResponse({name: backend_state(text, is_running=True) for name, text in descriptions.items()})

    async def _ps(self, request: Request) -> Response:
        admit_manager(self._admission, request)
        return JSONResponse([_row(runner) for runner in self._scheduler.runners()])

    async def _df(self, request: Request) -> Response:
        admit_manager(self._admission, request)
        usage = await asyncio.to_thread(self._store.usage)
        engine = await asyncio.to_thread(wheel_bytes)
        return JSONResponse({"models_disk_usage": usage.models_bytes, "default_backend_disk_usage": engine})

    async def _unload(self, request: Request) -> Response:
        """Unload `{"all": true}`, or `{"models": […]}`, of the engine `backend` where it is named.

        What does not run, or is not there, counts as none.
        """
        admit_manager(self._admission, request)
        document = await document_of(request)
        wanted = None if document.get("all") else strings(document.get("models"), "models")
        engine = document.get("backend") or None
        runners, _ = runners_of(self._scheduler, self._catalog, wanted, None if engine is None else str(engine))
        await unload(self._scheduler, runners)
        return JSONResponse({"unloaded_runners": len(runners)})

    async def _install(self, request: Request) -> Response:
        """Answer that an engine is there, or why it is not: engines come with dmrc, or as its extras and plugins."""
        engine = await self._engine(request)
        state = backend_state(await asyncio.to_thread(engine.describe), is_running=True)
        if not state.startswith("Running"):
            raise UnsupportedError(f"engine '{engine.name}' is not installed: {state}", remedy="Install it with pip")
        return Response()

    async def _uninstall(self, request: Request) -> Response:
        engine = await self._engine(request)
        raise UnsupportedError(f"engine '{engine.name}' is a part of dmrc", remedy="Uninstall it with pip")

    async def _engine(self, request: Request) -> Engine:
        admit_manager(self._admission, request)
        name = text_in(await document_of(request), "backend", example=DEFAULT_ENGINE)
        if name not in self._engines:
            raise NotFoundError("backend not found", remedy=f"There are {', '.join(self._engines)}")
        return self._engines[name]


def runners_of(
    scheduler: Scheduler, catalog: Catalog, models: Sequence[str] | None, engine: str | None
) -> tuple[list[Runner], list[str]]:
    """Return the runners of these models, and of this engine, and which of the models nobody knows; None is every one.

    Unknown is what is not in the store, and does not run.
    """
    runners = scheduler.runners()
    unknown: list[str] = []
    if models is not None:
        # A model whose files are damaged cannot be resolved, and its digest still says which runners are its own;
        # an upstream's has no files.
        known = {name for runner in runners for name in (runner.target.digest, runner.target.reference)}
        wanted: set[str | None] = set()
        for name in models:
            try:
                wanted.add(name if name in known else catalog.digest(name))
            except ModelNotFoundError:
                unknown.append(name)
        runners = [one for one in runners if {one.target.digest, one.target.reference} & wanted]
    return [one for one in runners if engine in (None, one.target.engine)], unknown


async def unload(scheduler: Scheduler, runners: Sequence[Runner], *, wait: bool = True) -> None:
    """End these runners, each when it has finished what it does; without `wait` it returns when the idle ones have."""
    for runner in runners:
        if wait or not runner.in_use:
            await scheduler.unload(runner)
        else:
            scheduler.release({runner.key})


def _row(runner: Runner) -> dict[str, object]:
    """Return a runner as Docker Model Runner has it, which leaves out what is false."""
    used = datetime.fromtimestamp(runner.last_used, UTC).isoformat().replace("+00:00", "Z")
    mode = runner.target.mode
    return {
        "backend_name": runner.target.engine,
        "model_name": runner.name,
        "mode": "reranking" if mode == "rerank" else mode,
        "last_used": _NEVER if runner.in_use else used,
        **({"in_use": True} if runner.in_use else {}),
        **({"loading": True} if runner.state in (State.WAITING, State.STARTING) else {}),
        "keep_alive": go_duration(runner.keep_alive_seconds),
    }
