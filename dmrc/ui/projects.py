"""The page of projects: who uses which model, what each service was given, and what came of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, JSONResponse, Response

from dmrc.capture.queries import ExchangeFilter
from dmrc.capture.summary import model_name
from dmrc.capture.totals import Totals
from dmrc.compose.container_states import container_states
from dmrc.lens.record import services
from dmrc.lens.service import ServiceLook
from dmrc.projects import WHOLE_PROJECT, Registration
from dmrc.ui.documents import HTML
from dmrc.ui.project_cards import ProjectCard, project_card
from dmrc.ui.project_figures import figures, model_state
from dmrc.ui.rendering import page, render

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_SECONDS = 86400.0
_PARTS = 24
_CAUSES = 1
_LAST = 50  # requests of a service that the lens reads: it shares the interpreter with those that run


class ProjectPages:
    """The handlers."""

    def __init__(self, parts: DaemonParts) -> None:
        """Show the projects that are up."""
        self._parts = parts
        self._totals = Totals(parts.settings.paths.exchanges)

    def add_to(self, router: APIRouter) -> None:
        """Add the routes; the page asks for what takes a while when it is painted."""
        router.get("/ui/projects", response_class=Response, responses=HTML)(self.index)
        router.get("/ui/projects/cache", response_class=Response, responses=HTML)(self.cache)
        router.get("/ui/projects/{name}/figures")(self.figures)
        router.get("/ui/projects/{name}/containers")(self.containers)

    async def index(self) -> Response:
        """Return the page of all projects."""
        known = self._parts.projects.all()
        return page("projects.html", here="projects", projects=[await self._project(one) for one in known])

    async def figures(self, name: str) -> JSONResponse:
        """Return what each service of a project came to in the last 24 hours, by its name."""
        project, now = self._parts.projects.get(name), time.time()

        def read() -> dict[str, object]:
            found: dict[str, object] = {}
            for each in project.services:
                service = None if each == WHOLE_PROJECT else each
                totals = self._totals.of_service(project.name, service, now - _SECONDS, now, _PARTS)
                found[each] = figures(totals)
            return {"start": now - _SECONDS, "end": now, "services": found}

        return JSONResponse(await asyncio.to_thread(read))

    async def containers(self, name: str) -> JSONResponse:
        """Return the containers of a project; `answers` is false where Docker is silent, null where there is none."""
        host = self._parts.projects.get(name).docker_host
        found = None if host is None else await asyncio.to_thread(container_states, host, name)
        states = [asdict(one) for one in found or ()]
        return JSONResponse({"answers": None if host is None else found is not None, "containers": states})

    async def cache(self, project: str, service: str = "") -> Response:
        """Return what the lens sees of one service's prompts, without a page; "" is the project as a whole."""
        query = ExchangeFilter(project=project, service=service or None)
        found = await asyncio.to_thread(services, self._parts.database, query, _LAST)
        of_service = [one for one in found if one.looks[-1].exchange.service == (service or None)]
        return HTMLResponse(render("cache.html", services=[_cache(one) for one in of_service]))

    async def _project(self, known: Registration) -> ProjectCard:
        parts = self._parts
        runners = list(parts.scheduler.runners())
        states = [await model_state(parts.catalog, runners, known, one) for one in known.models.values()]
        models = {state.declaration.key: state for state in states}
        override = parts.settings.paths.projects / known.name / "override.yaml"
        settings = parts.settings
        return await asyncio.to_thread(project_card, known, models, override, settings.capture, settings.port)


def _cache(found: ServiceLook) -> dict[str, object]:
    newest = found.looks[-1].exchange
    causes = [
        {"sentence": cause.sentence(found.compared), "example": cause.example.exchange.id} for cause in found.causes
    ]
    model = model_name(newest.model_reference or newest.model_requested)
    return {"model": model, "numbers": found.numbers, "unread": found.unread, "causes": causes[:_CAUSES]}
