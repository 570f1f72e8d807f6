"""The admin API, on a unix socket that only the user can open: what the command line asks of the daemon."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from dmrc import __version__
from dmrc.errors import BusyError, DaemonError, DmrcError, PortTakenError
from dmrc.gateway.projects.claims import Claims
from dmrc.gateway.routes.dmr_engines import runners_of, unload
from dmrc.gateway.routes.keys import KeyRoutes
from dmrc.gateway.routes.requests import EventStream, live_events
from dmrc.gateway.server.page_sessions import LOGIN
from dmrc.project import ServingOptions
from dmrc.projects import Registration
from dmrc.scheduler.description import describe_runner
from dmrc.scheduler.runner import RunnerState

if TYPE_CHECKING:
    from dmrc.gateway.daemon import Daemon


_FLUSH_SECONDS = 2.0
_HANG_UP_SECONDS = 1.0
_LOOK_SECONDS = 0.02


def create_admin_app(daemon: Daemon) -> FastAPI:
    """Return the application; each route is a line of `_routes`."""
    app = FastAPI(title="dmrc admin", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    for method, path, handler in [*_routes(_Admin(daemon)), *KeyRoutes(daemon.keys).routes()]:
        app.add_api_route(path, handler, methods=[method], response_model=None)
    app.add_exception_handler(DmrcError, _on_error)
    app.add_exception_handler(Exception, _on_mistake)
    return app


Handler = Callable[[Request], Awaitable[Response]]


def _routes(admin: _Admin) -> list[tuple[str, str, Handler]]:
    return [
        ("GET", "/status", admin.status),
        ("POST", "/stop", admin.stop),
        ("GET", "/use", admin.use),
        ("POST", "/attach", admin.attach),
        ("GET", "/projects", admin.projects),
        ("PUT", "/projects/{name}", admin.register),
        ("PUT", "/projects/{name}/secrets", admin.remember_secrets),
        ("DELETE", "/projects/{name}", admin.unregister),
        ("POST", "/projects/{name}/settle", admin.settle),
        ("PUT", "/projects/{name}/upstream-keys", admin.upstream_keys),
        ("POST", "/projects/{name}/join", admin.join),
        ("DELETE", "/projects/{name}/services/{service}", admin.leave),
        ("POST", "/projects/{name}/services/{service}/rest", admin.rest),
        ("POST", "/projects/{name}/load/{key:path}", admin.load),
        ("POST", "/load", admin.preload),
        ("GET", "/requests/live", admin.live),
        ("POST", "/requests/flush", admin.flush),
        ("POST", "/ui-token", admin.page_token),
        ("GET", "/runners", admin.runners),
        ("POST", "/unload", admin.unload),
        ("GET", "/configurations", admin.configurations),
        ("PUT", "/configurations", admin.configure),
        ("DELETE", "/configurations", admin.reset),
        ("GET", "/plugins", admin.plugins),
        ("POST", "/pulled", admin.pulled),
    ]


class _Admin:
    """The handlers."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._claims = Claims()

    async def status(self, _request: Request) -> Response:
        daemon = self._daemon
        return JSONResponse(
            {
                "version": __version__,
                "pid": os.getpid(),
                "home": str(daemon.settings.home),
                "port": daemon.settings.port,
                "addresses": daemon.bindings.addresses,
                "started_at": daemon.started_at,
                "projects": [known.name for known in daemon.projects.all()],
                "runners": len(daemon.scheduler.runners()),
                "in_flight": daemon.work.in_flight - 1,
                "ended": [asdict(death) for death in daemon.scheduler.backoff.latest],
                "exchanges_dropped": daemon.recorder.counts().dropped,
            }
        )

    async def stop(self, request: Request) -> Response:
        """Begin to end; with `?unless=used` only when there is no project, no runner, and no call but this one.

        With `?unless=busy` projects and runners that rest do not count: the next daemon takes them over. A call whose
        caller has just gone gets a moment to end.
        """
        unless = request.query_params.get("unless")
        if unless is not None:
            is_wanted = self._is_used if unless == "used" else self._is_busy
            deadline = time.monotonic() + _HANG_UP_SECONDS
            while (wanted := is_wanted()) and self._daemon.work.in_flight > 1 and time.monotonic() < deadline:
                await asyncio.sleep(_LOOK_SECONDS)
            if wanted:
                return JSONResponse({"stopping": False})
        self._daemon.stop()
        return JSONResponse({"stopping": True})

    async def use(self, _request: Request) -> Response:
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

    async def attach(self, request: Request) -> Response:
        document = await request.json()
        bindings, docker_host, refusal = self._daemon.bindings, document["docker_host"], None
        address = await bindings.attach(docker_host)
        if document.get("plain_port"):
            try:
                await bindings.attach_plainly(docker_host)
            except (DaemonError, PortTakenError) as error:
                refusal = error.message
        return JSONResponse({"address": address, "no_plain_port": refusal})

    async def projects(self, _request: Request) -> Response:
        return JSONResponse(
            [
                {"name": known.name, "directory": known.directory, "docker_host": known.docker_host}
                for known in self._daemon.projects.all()
            ]
        )

    async def register(self, request: Request) -> Response:
        """Take a project in; `?claim=` is to be settled, or let go where the command fails."""
        registration = Registration.from_json(await request.body())
        if (claim := request.query_params.get("claim")) is not None:
            is_new = self._daemon.projects.find(registration.name) is None
            self._claims.claim(registration.name, claim, is_new=is_new)
        plugins = await self._daemon.register(registration)
        return JSONResponse({"plugins": [plugin.to_json() for plugin in plugins]})

    async def settle(self, request: Request) -> Response:
        """Hear from a command that its project is ready."""
        self._claims.settle(request.path_params["name"])
        return JSONResponse({})

    async def join(self, request: Request) -> Response:
        registration = Registration.from_json(await request.body())
        self._claims.settle(registration.name)
        await self._daemon.join(registration)
        return JSONResponse({})

    async def leave(self, request: Request) -> Response:
        name, service = request.path_params["name"], request.path_params["service"]
        return JSONResponse({"known": await self._daemon.leave(name, service)})

    async def rest(self, request: Request) -> Response:
        await self._daemon.rest(request.path_params["name"], request.path_params["service"])
        return JSONResponse({})

    async def remember_secrets(self, request: Request) -> Response:
        """Take a list of strings, which must not be recorded."""
        self._daemon.remember_secrets(request.path_params["name"], await request.json())
        return JSONResponse({})

    async def live(self, _request: Request) -> Response:
        """Stream requests as they start and complete."""
        return EventStream(live_events(self._daemon.live))

    async def flush(self, _request: Request) -> Response:
        """Answer when what was recorded so far is on disk, or cannot be written soon."""
        return JSONResponse({"written": await asyncio.to_thread(self._daemon.recorder.flush, _FLUSH_SECONDS)})

    async def unregister(self, request: Request) -> Response:
        """End a project; with `?claim=` only where no other command prepares it or has made it ready."""
        name, claim = request.path_params["name"], request.query_params.get("claim")
        if claim is not None and not self._claims.abandon(name, claim):
            return JSONResponse({"known": True})
        self._claims.settle(name)
        return JSONResponse({"known": await self._daemon.unregister(name)})

    async def upstream_keys(self, request: Request) -> Response:
        """Remember the keys of a project's upstreams, by the names of their variables: in memory, and nowhere else."""
        self._daemon.catalog.upstream_keys.put(request.path_params["name"], await request.json())
        return JSONResponse({})

    async def load(self, request: Request) -> Response:
        registration = self._daemon.projects.get(request.path_params["name"])
        declaration = registration.models[request.path_params["key"]]
        wanted = (registration.name, declaration.model, declaration, None)
        target = await asyncio.to_thread(self._daemon.catalog.target, *wanted)
        if request.query_params.get("wait") == "0":
            self._daemon.load_in_background(target)
            return JSONResponse({})
        present = {runner.target.key for runner in self._daemon.scheduler.runners()}
        runner = await self._daemon.scheduler.load(target)
        return JSONResponse({**describe_runner(runner), "was_loaded": target.key in present})

    async def preload(self, request: Request) -> Response:
        """Load a model that a person names; with `?wait=0` answer at once."""
        target = (await self._daemon.catalog.resolved(None, (await request.json())["model"], None)).target
        if request.query_params.get("wait") == "0":
            self._daemon.load_in_background(target)
        else:
            await self._daemon.scheduler.load(target)
        return JSONResponse({})

    async def plugins(self, _request: Request) -> Response:
        return JSONResponse([plugin.to_json() for plugin in self._daemon.hooks.plugins.all()])

    async def pulled(self, request: Request) -> Response:
        """Hear from a command that it pulled a model."""
        self._daemon.hooks.model_pulled(await request.json())
        return JSONResponse({})

    async def page_token(self, _request: Request) -> Response:
        """Return what opens the web page once."""
        return JSONResponse({"path": LOGIN, "token": self._daemon.page_sessions.mint()})

    async def runners(self, _request: Request) -> Response:
        runners = self._daemon.scheduler.runners()
        counts = await asyncio.gather(*(runner.hang_ups.counts() for runner in runners))
        return JSONResponse([describe_runner(*one) for one in zip(runners, counts, strict=True)])

    async def unload(self, request: Request) -> Response:
        """End the runners of the models named, or all, of an engine where one is named; all those of one model.

        Where the body says `"wait": false`, one in use goes on, and ends when its requests have.
        """
        document = await request.json()
        wanted = None if document.get("all") else document.get("models", [])
        scheduler = self._daemon.scheduler
        runners, unknown = runners_of(scheduler, self._daemon.catalog, wanted, document.get("engine"))
        await unload(scheduler, runners, wait=document.get("wait", True))
        return JSONResponse({"unloaded": [runner.target.reference for runner in runners], "unknown": unknown})

    async def configurations(self, request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self._daemon.configurator.show, request.query_params.get("model")))

    async def configure(self, request: Request) -> Response:
        document = await request.json()
        options = ServingOptions.from_json(document["options"])
        replace = document.get("replace", False)
        await self._daemon.configurator.configure(document["model"], document["project"], options, replace=replace)
        return JSONResponse({})

    async def reset(self, request: Request) -> Response:
        document = await request.json()
        return JSONResponse({"known": await self._daemon.configurator.reset(document["model"], document["project"])})


async def _on_error(_request: Request, error: Exception) -> Response:
    known = cast(DmrcError, error)
    document: dict[str, object] = {"kind": type(known).__name__, "message": known.message, "remedy": known.remedy}
    document["log_tail"] = known.log_tail
    return JSONResponse({"error": document}, known.http_status)


async def _on_mistake(request: Request, error: Exception) -> Response:
    """Answer in JSON for a bug of ours, too; the traceback is in the log."""
    what = f"dmrc made a mistake at {request.method} {request.url.path}: {type(error).__name__}: {error}"
    return await _on_error(request, DaemonError(what, remedy="See: dmrc logs"))
