"""The overview: what happens now, what happened in the last hour, and what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import Response

from dmrc import __version__
from dmrc.ui.documents import HTML, HealthDocument
from dmrc.ui.rendering import page

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts


class OverviewPages:
    """The handlers."""

    def __init__(self, parts: DaemonParts) -> None:
        """Show what this daemon does."""
        self._parts = parts

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.get("/ui/health", response_model=HealthDocument)(self.health)
        router.get("/ui/overview", response_class=Response, responses=HTML)(self.index)

    async def health(self) -> dict[str, object]:
        """Return what the foot of every page says of the daemon."""
        waiting = sum(runner.waiting for runner in self._parts.scheduler.runners())
        return {"version": __version__, "running": len(self._parts.lifecycle.running), "waiting": waiting}

    async def index(self) -> Response:
        """Return the page."""
        return page("overview.html", here="overview")
