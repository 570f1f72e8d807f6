"""The page of projects: who uses which model, what each service was given, and what came of it."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from dmrc.capture.queries import ExchangeFilter
from dmrc.capture.summary import model_name
from dmrc.capture.totals import Sums, Totals
from dmrc.compose.override import read_environments
from dmrc.compose.secrets import secrets_in
from dmrc.lens.record import services
from dmrc.lens.service import ServiceLook
from dmrc.project import KEY_PREFIX
from dmrc.projects import WHOLE_PROJECT, Registration
from dmrc.ui.documents import HTML
from dmrc.ui.rendering import page, render

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_SECONDS = 86400.0
_CAUSES = 3
_LAST = 50  # requests of a service that the lens reads: it shares the interpreter with those that run
_MASKED = "…"
_KEY = re.compile(rf"{re.escape(KEY_PREFIX)}[\w-]+")


class ProjectPages:
    """The handler."""

    def __init__(self, parts: DaemonParts) -> None:
        """Show the projects that are up."""
        self._parts = parts
        self._totals = Totals(parts.settings.paths.exchanges)

    def add_to(self, router: APIRouter) -> None:
        """Add the route."""
        router.get("/ui/projects", response_class=Response, responses=HTML)(self.index)
        router.get("/ui/projects/cache", response_class=Response, responses=HTML)(self.cache)

    async def index(self) -> Response:
        """Return the page of all projects."""
        sums = await asyncio.to_thread(self._totals.by_service, time.time() - _SECONDS)
        projects = [self._project(known, sums) for known in self._parts.projects.all()]
        return page("projects.html", here="projects", projects=projects)

    async def cache(self, project: str, service: str = "") -> Response:
        """Return what the lens sees of one service's prompts, without a page; "" is the project as a whole."""
        query = ExchangeFilter(project=project, service=service or None)
        found = await asyncio.to_thread(services, self._parts.database, query, _LAST)
        of_service = [one for one in found if one.looks[-1].exchange.service == (service or None)]
        return HTMLResponse(render("cache.html", services=[_cache(one) for one in of_service]))

    def _project(self, known: Registration, sums: dict[tuple[str | None, str | None], Sums]) -> dict[str, object]:
        override = self._parts.settings.paths.projects / known.name / "override.yaml"
        variables = _variables(override)
        services = [
            {
                "name": "every service, by its URL" if name == WHOLE_PROJECT else name,
                "models": [known.models[key] for key in keys],
                "variables": variables.get(name, {}),
                "sums": sums.get((known.name, None if name == WHOLE_PROJECT else name), Sums()),
                "link": {"project": known.name, **({} if name == WHOLE_PROJECT else {"service": name})},
            }
            for name, keys in known.services.items()
        ]
        return {"known": known, "services": services, "override": _override(override)}


def _cache(found: ServiceLook) -> dict[str, object]:
    newest = found.looks[-1].exchange
    causes = [
        {"sentence": cause.sentence(found.compared), "example": cause.example.exchange.id} for cause in found.causes
    ]
    model = model_name(newest.model_reference or newest.model_requested)
    return {"model": model, "numbers": found.numbers, "unread": found.unread, "causes": causes[:_CAUSES]}


def _variables(override: Path) -> dict[str, dict[str, str]]:
    """Return what each service was given, by its name; keys and all that looks like a secret are masked."""
    return {
        service: {name: _masked(name, value) for name, value in variables.items()}
        for service, variables in read_environments(override).items()
    }


def _override(path: Path) -> str:
    """Return the override file as it lies there; what `_variables` masks is masked."""
    try:
        text = path.read_text()
    except OSError:
        return ""
    text = _KEY.sub(f"{KEY_PREFIX}{_MASKED}", text)
    for variables in read_environments(path).values():
        for name, value in variables.items():
            for secret in secrets_in(name, value):
                text = text.replace(secret.replace("$", "$$"), _MASKED)
    return text


def _masked(name: str, value: str) -> str:
    """Return the value of a variable without what is secret in it; a key of ours may be a part of a URL."""
    if value.startswith(KEY_PREFIX):
        return f"{KEY_PREFIX}{_MASKED}"
    value = _KEY.sub(f"{KEY_PREFIX}{_MASKED}", value)
    for secret in secrets_in(name, value):
        value = value.replace(secret, _MASKED)
    return value
