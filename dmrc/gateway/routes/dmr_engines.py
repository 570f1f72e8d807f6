"""Docker Model Runner's routes about engines and what runs, below `/engines`; and `/version`.

Source: https://github.com/docker/model-runner/blob/main/pkg/inference/scheduling/http_handler.go
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from fastapi import FastAPI
from fastapi.responses import Response

from dmrc import __version__
from dmrc.background import apart
from dmrc.engines.engine import Engine
from dmrc.engines.engine_state import backend_state
from dmrc.errors import ModelNotFoundError, NotFoundError, UnsupportedError
from dmrc.gateway.routes.dmr_documents import Backend, DiskUsage, DmrUnload, DmrUnloaded, Running, Version
from dmrc.gateway.routes.error_documents import OpenAIError
from dmrc.gateway.routes.management import admit_manager
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.typed_routes import include, route_class, typed_router
from dmrc.gateway.serving.catalog import Catalog
from dmrc.project import DEFAULT_ENGINE
from dmrc.scheduler.description import go_duration
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.states import RunnerState
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
        router = typed_router(route_class(admit_manager(self._admission)), "Docker Model Runner", OpenAIError)
        router.get("/version", response_model=Version)(self.version)
        router.get("/engines/status", response_model=dict[str, str])(self.status)
        router.get("/engines/ps", response_model=list[Running])(self.ps)
        router.get("/engines/df", response_model=DiskUsage)(self.df)
        router.post("/engines/unload", response_model=DmrUnloaded)(self.unload)
        router.post("/engines/install-backend", response_class=Response)(self.install)
        router.post("/engines/uninstall-backend", response_class=Response)(self.uninstall)
        include(app, router)

    async def version(self) -> dict[str, str]:
        """Return the version of dmrc."""
        return {"version": __version__}

    async def status(self) -> dict[str, str]:
        """Return the engines, each with what it is."""
        descriptions = {name: await apart(engine.describe, "engine") for name, engine in self._engines.items()}
        return {name: backend_state(text, is_running=True) for name, text in descriptions.items()}

    async def ps(self) -> list[dict[str, object]]:
        """Return the runners."""
        return [_row(runner) for runner in self._scheduler.runners()]

    async def df(self) -> dict[str, int]:
        """Return the bytes that models and the engine take."""
        usage = await apart(self._store.usage, "usage")
        engine = await apart(self._engines[DEFAULT_ENGINE].disk_bytes, "usage")
        return {"models_disk_usage": usage.models_bytes, "default_backend_disk_usage": engine}

    async def unload(self, body: DmrUnload) -> dict[str, int]:
        """Unload models, of one engine where it is named; what does not run, or is not there, counts as none."""
        wanted = None if body.all else body.models
        keys, _ = await keys_of(self._scheduler, self._catalog, wanted, body.backend or None)
        return {"unloaded_runners": len(await unload(self._scheduler, keys))}

    async def install(self, body: Backend) -> Response:
        """Answer that an engine is there, or why it is not: engines come with dmrc, or as its extras and plugins."""
        engine = self._engine(body)
        state = backend_state(await apart(engine.describe, "engine"), is_running=True)
        if not state.startswith("Running"):
            raise UnsupportedError(f"engine '{engine.name}' is not installed: {state}", remedy="Install it with pip")
        return Response()

    async def uninstall(self, body: Backend) -> Response:
        """Answer that an engine cannot be taken away from dmrc."""
        raise UnsupportedError(f"engine '{self._engine(body).name}' is a part of dmrc", remedy="Uninstall it with pip")

    def _engine(self, body: Backend) -> Engine:
        if body.backend not in self._engines:
            raise NotFoundError("backend not found", remedy=f"There are {', '.join(self._engines)}")
        return self._engines[body.backend]


async def keys_of(
    scheduler: Scheduler, catalog: Catalog, models: Sequence[str] | None, engine: str | None
) -> tuple[set[str], list[str]]:
    """Return the keys of all that is loaded or kept of these models, and of this engine; None is every one.

    And which of the models nobody knows: what is not in the store, and does not run.
    """
    targets = [*(runner.target for runner in scheduler.runners()), *scheduler.starts.kept.targets()]
    wanted = {one.key for one in targets} if models is None else set[str]()
    unknown: list[str] = []
    for name in models or ():
        # What runs may be removed meanwhile, or be another machine's or an upstream's, which has no files here.
        found = {one.key for one in targets if catalog.is_name_of(name, one)}
        try:
            digest = await catalog.digest(name)
        except ModelNotFoundError:
            if not found:
                unknown.append(name)
        else:
            found |= {one.key for one in targets if one.digest == digest}
        wanted |= found
    return {one.key for one in targets if one.key in wanted and engine in (None, one.engine)}, unknown


async def unload(scheduler: Scheduler, keys: Collection[str], *, wait: bool = True) -> list[ManagedRunner]:
    """End the runners of these keys, each when it has finished what it does, and return them; forget their prompts.

    Without `wait` it returns when the idle ones have ended.
    """
    scheduler.starts.kept.forget(keys)
    runners = [one for one in scheduler.runners() if one.key in keys]
    for runner in runners:
        if wait or not runner.in_use:
            await scheduler.unload(runner)
        else:
            scheduler.release({runner.key})
    return runners


def _row(runner: ManagedRunner) -> dict[str, object]:
    """Return a runner as Docker Model Runner has it, which leaves out what is false."""
    used = datetime.fromtimestamp(runner.last_used, UTC).isoformat().replace("+00:00", "Z")
    mode = runner.target.mode
    return {
        "backend_name": runner.target.engine,
        "model_name": runner.name,
        "mode": "reranking" if mode == "rerank" else mode,
        "last_used": _NEVER if runner.in_use else used,
        **({"in_use": True} if runner.in_use else {}),
        **({"loading": True} if runner.state in (RunnerState.WAITING, RunnerState.STARTING) else {}),
        "keep_alive": go_duration(runner.keep_alive_seconds),
    }
