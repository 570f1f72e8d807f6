"""Containers that send no key, where their project says `x-dmrc: {auth: address}`: who they are, and port 80 for them.

Applications that were written for Docker Model Runner call `http://model-runner.docker.internal/engines/v1`.
"""

from __future__ import annotations

from starlette.types import Scope

from dmrc.compose.containers import Containers
from dmrc.projects import Projects

PLAIN_PORT = 80
"""Of an address without a port."""


class CallersByAddress:
    """Knows containers by their addresses, and only where a project wants that."""

    def __init__(self, projects: Projects, containers: Containers) -> None:
        """Ask `containers` who has an address."""
        self._projects = projects
        self._containers = containers

    async def mark(self, scope: Scope) -> None:
        """Put into the scope of a request on the bridge which container sends it, as `dmrc.container`."""
        if not self._projects.know_addresses or not scope.get("client"):
            return
        scope["dmrc.container"] = await self._containers.found(scope["client"][0])
