"""The admin API, on a unix socket that only the user can open: what the command line asks of the daemon."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import asdict
from typing import Literal, Protocol

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response

from dmrc import __version__
from dmrc.capture.live import LiveEvents
from dmrc.capture.recorder import Recorder
from dmrc.engines.engine import Engine
from dmrc.errors import BusyError, DmrcError, InputError, NotFoundError
from dmrc.exchange import JsonValue
from dmrc.gateway.inference.call_counter import CallCounter
from dmrc.gateway.inference.lifecycle import Lifecycle
from dmrc.gateway.plugins.hooks import Hooks
from dmrc.gateway.projects.diffs import Diffs
from dmrc.gateway.projects.keys import Keys
from dmrc.gateway.projects.membership import Membership
from dmrc.gateway.routes.admin_documents import (
    AdminError,
    ConfigurationBody,
    ConfigurationName,
    Done,
    Known,
    Loaded,
    PageToken,
    PluginDocument,
    Preload,
    PulledModel,
    RunnerDocument,
    Status,
    Stopping,
    UnloadBody,
    UnloadedRunners,
)
from dmrc.gateway.routes.admin_errors import on_error, on_mistake
from dmrc.gateway.routes.admin_now import NowRoutes
from dmrc.gateway.routes.admin_projects import ProjectRoutes
from dmrc.gateway.routes.description import Description
from dmrc.gateway.routes.diffs import DiffRoutes
from dmrc.gateway.routes.dmr_documents import DmrConfigured as ShownConfiguration
from dmrc.gateway.routes.dmr_engines import keys_of, unload
from dmrc.gateway.routes.documents import EVENTS
from dmrc.gateway.routes.faults import FaultRoutes
from dmrc.gateway.routes.hosted import HostedRoutes
from dmrc.gateway.routes.hosts import HostRoutes
from dmrc.gateway.routes.keys import KeyRoutes
from dmrc.gateway.routes.replica_logs import ReplicaLogRoutes
from dmrc.gateway.routes.requests import EventStream
from dmrc.gateway.server.bindings import Bindings
from dmrc.gateway.server.page_sessions import LOGIN, PageSessions
from dmrc.gateway.server.typed_routes import include, route_class, typed_router
from dmrc.gateway.serving.catalog import Catalog
from dmrc.gateway.serving.configure import Configurator
from dmrc.gateway.serving.targets import Use
from dmrc.projects import Projects
from dmrc.scheduler.description import describe_runner
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.states import RunnerState
from dmrc.scheduler.target import Target
from dmrc.settings import Settings

_ABOUT = "What the command line asks of the daemon. It may change with every version."
_HANG_UP_SECONDS = 1.0
_LOOK_SECONDS = 0.02


class Administered(Protocol):
    """What the routes need of the daemon."""

    settings: Settings
    started_at: float
    """Unix seconds."""
    projects: Projects
    keys: Keys
    diffs: Diffs
    members: Membership
    catalog: Catalog
    configurator: Configurator
    scheduler: Scheduler
    recorder: Recorder
    lifecycle: Lifecycle
    live: LiveEvents
    hooks: Hooks
    bindings: Bindings
    page_sessions: PageSessions
    work: CallCounter
    engines: Mapping[str, Engine]
    hosted: HostedRoutes

    def stop(self) -> None:
        """Begin to end."""

    @property
    def is_ending(self) -> bool:
        """Return whether the end has begun."""

    async def ending(self) -> None:
        """Wait for the beginning of the end."""

    def load_in_background(self, target: Target, /) -> None:
        """Load a model for the requests to come."""


def create_admin_app(daemon: Administered) -> FastAPI:
    """Return the application, with an OpenAPI document of its own: who may open the socket may do all that it says."""
    app = FastAPI(title="dmrc admin", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    router = typed_router(route_class(read=_read), "admin", AdminError)
    _Admin(daemon).add_to(router)
    ProjectRoutes(daemon.bindings, daemon.projects, daemon.members, daemon.catalog.upstream_keys).add_to(router)
    KeyRoutes(daemon.keys).add_to(router)
    FaultRoutes(daemon.hooks.faults).add_to(router)
    DiffRoutes(daemon.diffs, daemon.ending).add_to(router)
    ReplicaLogRoutes(daemon.scheduler).add_to(router)
    NowRoutes(daemon.lifecycle, daemon.scheduler, daemon.live, daemon.recorder).add_to(router)
    HostRoutes(daemon.engines).add_to(router)
    daemon.hosted.add_to(router)
    include(app, router)
    daemon.hosted.mount_on(app)
    Description("dmrc admin", _ABOUT, lambda: router.routes, [AdminError]).add_to(app)
    app.add_exception_handler(DmrcError, on_error)
    app.add_exception_handler(Exception, on_mistake)
    return app


async def _read(request: Request) -> object:
    """Return a body as JSON; one of a command may be long, and hold halves of characters, as bytes of a variable do."""
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InputError(f"the request body is not JSON: {error}") from error


class _Admin:
    """The handlers."""

    def __init__(self, daemon: Administered) -> None:
        self._daemon = daemon

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.get("/status", response_model=Status)(self.status)
        router.post("/stop", response_model=Stopping)(self.stop)
        router.get("/use", response_class=Response, responses=EVENTS)(self.use)
        router.post("/projects/{name}/load/{key:path}", response_model=Loaded)(self.load)
        router.post("/load", response_model=Done)(self.preload)
        router.post("/ui-token", response_model=PageToken)(self.page_token)
        router.get("/runners", response_model=list[RunnerDocument])(self.runners)
        router.post("/unload", response_model=UnloadedRunners)(self.unload)
        router.get("/configurations", response_model=list[ShownConfiguration])(self.configurations)
        router.put("/configurations", response_model=Done)(self.configure)
        router.delete("/configurations", response_model=Known)(self.reset)
        router.get("/plugins", response_model=list[PluginDocument])(self.plugins)
        router.post("/pulled", response_model=Done)(self.pulled)

    async def status(self) -> dict[str, object]:
        """Return how the daemon is."""
        daemon = self._daemon
        return {
            "version": __version__,
            "pid": os.getpid(),
            "home": str(daemon.settings.home),
            "port": daemon.settings.port,
            "addresses": daemon.bindings.addresses,
            "listen": daemon.bindings.for_other_machines,
            "started_at": daemon.started_at,
            "projects": [known.name for known in daemon.projects.all()],
            "runners": len(daemon.scheduler.runners()),
            "in_flight": daemon.work.in_flight - 1,
            "ended": [asdict(end) for end in daemon.scheduler.backoff.latest],
            "faults": [str(planned) for planned in daemon.hooks.faults.planned()],
            "exchanges_dropped": daemon.recorder.counts().dropped,
        }

    async def stop(self, unless: Literal["used", "busy"] | None = None) -> dict[str, bool]:
        """Begin to end; with `?unless=used` only when there is no project, no runner, and no call but this one.

        With `?unless=busy` projects and runners that rest do not count: the next daemon takes them over. A call whose
        caller has just gone gets a moment to end.
        """
        if unless is not None:
            is_wanted = self._is_used if unless == "used" else self._is_busy
            deadline = time.monotonic() + _HANG_UP_SECONDS
            while (wanted := is_wanted()) and self._daemon.work.in_flight > 1 and time.monotonic() < deadline:
                await asyncio.sleep(_LOOK_SECONDS)
            if wanted:
                return {"stopping": False}
        self._daemon.stop()
        return {"stopping": True}

    async def use(self) -> Response:
        """Count as a call until the caller hangs up, or the daemon ends: a command has work for it.

        Raises:
            BusyError: The daemon is ending.
        """
        if self._daemon.is_ending:
            raise BusyError("the daemon is ending", retry_after_seconds=1)
        return EventStream(self._until_end())

    async def _until_end(self) -> AsyncGenerator[bytes]:
        yield b": in use\n\n"
        await self._daemon.ending()

    def _is_used(self) -> bool:
        daemon = self._daemon
        runs = any(runner.state is not RunnerState.DRAINING for runner in daemon.scheduler.runners())
        return runs or bool(daemon.projects.all()) or daemon.work.in_flight > 1

    def _is_busy(self) -> bool:
        """Return whether somebody would notice an end that the next daemon follows at once."""
        runners = self._daemon.scheduler.runners()
        return self._daemon.work.in_flight > 1 or any(
            runner.in_use or runner.waiting or runner.state is not RunnerState.READY for runner in runners
        )

    async def load(self, name: str, key: str, wait: bool = True) -> Response | dict[str, object]:
        """Load a model of a project; without `wait` the answer is an empty object, at once."""
        registration = self._daemon.diffs.find(name) or self._daemon.projects.get(name)
        declaration = registration.models.get(key)
        if declaration is None:
            raise NotFoundError(f"project '{name}' declares no model '{key}'")
        target = await self._daemon.catalog.target(Use(name, declaration.model, declaration), None)
        if not wait:
            self._daemon.load_in_background(target)
            return JSONResponse({})
        present = {runner.target.key for runner in self._daemon.scheduler.runners()}
        runner = await self._daemon.scheduler.load(target)
        return {**describe_runner(runner), "was_loaded": target.key in present}

    async def preload(self, body: Preload, wait: bool = True) -> dict[str, object]:
        """Load a model that a person names; without `wait` answer at once."""
        target = (await self._daemon.catalog.resolved(None, body.model, None)).target
        if wait:
            await self._daemon.scheduler.load(target)
        else:
            self._daemon.load_in_background(target)
        return {}

    async def plugins(self) -> list[dict[str, JsonValue]]:
        """Return the plugins."""
        return [plugin.to_json() for plugin in self._daemon.hooks.plugins.all()]

    async def pulled(self, body: PulledModel) -> dict[str, object]:
        """Hear from a command that it pulled a model."""
        self._daemon.hooks.model_pulled(body.model_dump())
        return {}

    async def page_token(self) -> dict[str, str]:
        """Return what opens the web page once."""
        return {"path": LOGIN, "token": self._daemon.page_sessions.new_token()}

    async def runners(self) -> list[dict[str, object]]:
        """Return the runners."""
        runners = self._daemon.scheduler.runners()
        counts = await asyncio.gather(*(runner.hang_ups.counts() for runner in runners))
        return [describe_runner(*one) for one in zip(runners, counts, strict=True)]

    async def unload(self, body: UnloadBody) -> dict[str, list[str]]:
        """End the runners of the models named, or all, of an engine where one is named.

        Without `wait` one in use goes on, and ends when its requests have.
        """
        scheduler = self._daemon.scheduler
        wanted = None if body.all else body.models
        keys, unknown = await keys_of(scheduler, self._daemon.catalog, wanted, body.engine)
        runners = await unload(scheduler, keys, wait=body.wait)
        return {"unloaded": [runner.target.reference for runner in runners], "unknown": unknown}

    async def configurations(self, model: str | None = None) -> list[dict[str, object]]:
        """Return how models are served: one, or all that are configured or declared."""
        return await self._daemon.configurator.show(model)

    async def configure(self, body: ConfigurationBody) -> dict[str, object]:
        """Set how a model is served, in one project or in all."""
        await self._daemon.configurator.configure(body.model, body.project, body.options, replace=body.replace)
        return {}

    async def reset(self, body: ConfigurationName) -> dict[str, bool]:
        """Forget what was set for a model."""
        return {"known": await self._daemon.configurator.reset(body.model, body.project)}
