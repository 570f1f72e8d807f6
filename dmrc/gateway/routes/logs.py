"""`GET /logs`: what the daemon wrote, and what the engines of the models that run did.

Source: https://github.com/docker/model-runner/blob/main/pkg/routing/service.go
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query
from fastapi.responses import Response, StreamingResponse

from dmrc.errors import NotFoundError
from dmrc.gateway.routes.documents import TEXT
from dmrc.gateway.routes.error_documents import OpenAIError
from dmrc.gateway.routes.management import admit_manager
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.typed_routes import QueryFlag, include, route_class, typed_router
from dmrc.log_tail import LogTail
from dmrc.paths import Paths
from dmrc.scheduler.scheduler import Scheduler

_LOOK_SECONDS = 0.25


class LogRoutes:
    """The handler. It is for the user of this machine: no service's key opens it."""

    def __init__(self, admission: Admission, scheduler: Scheduler, paths: Paths) -> None:
        """Read the logs of the daemon and of the runners of `scheduler`."""
        self._admission = admission
        self._scheduler = scheduler
        self._paths = paths

    def add_to(self, app: FastAPI) -> None:
        router = typed_router(route_class(admit_manager(self._admission)), "Docker Model Runner", OpenAIError)
        router.get("/logs", response_class=Response, responses=TEXT)(self.logs)
        include(app, router)

    async def logs(
        self, follow: QueryFlag = False, no_engines: Annotated[QueryFlag, Query(alias="no-engines")] = False
    ) -> Response:
        """Return the log of the daemon, and of the engines of the models that run; with `follow` it goes on."""
        if not self._paths.daemon_log.exists():
            raise NotFoundError("the daemon writes no log", remedy="It runs in a terminal, which shows what it says")
        lines = self._lines(with_engines=not no_engines, follows=follow)
        return StreamingResponse(lines, media_type="text/plain")

    async def _lines(self, *, with_engines: bool, follows: bool) -> AsyncIterator[str]:
        tails: dict[Path, LogTail] = {}
        try:
            while True:
                for path in self._wanted(with_engines=with_engines):
                    if path not in tails and path.exists():
                        tails[path] = LogTail(path)
                for tail in tails.values():
                    if said := await asyncio.to_thread(_read, tail):
                        yield said
                if not follows:
                    return
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for tail in tails.values():
                tail.close()

    def _wanted(self, *, with_engines: bool) -> list[Path]:
        runners = self._scheduler.runners() if with_engines else []
        return [self._paths.daemon_log, *(self._paths.logs / f"runner-{runner.key}.log" for runner in runners)]


def _read(tail: LogTail) -> str:
    return "".join(tail.read())
