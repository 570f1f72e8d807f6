"""Ends projects whose containers are gone: plain `docker compose down` tells dmrc nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from dmrc.compose.presence import Presence
from dmrc.projects import Projects

_log = logging.getLogger(__name__)


class Leavers:
    """Watches the containers of the projects that are up; made and used on the event loop.

    A project ends when it had containers since it was registered last, and has none any more. One that a program on
    this machine uses (`dmrc exec`, `dmrc env`) ends by `dmrc down` alone.
    """

    def __init__(self, projects: Projects, end: Callable[[str], Awaitable[bool]]) -> None:
        """End a project by `end`."""
        self._projects = projects
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._presence = Presence(self._awaited, self._report)
        self._ending: set[asyncio.Task[bool]] = set()

    def look(self) -> None:
        """Watch the engines of the projects that are up, and ask them now. Returns at once."""
        for docker_host in {known.docker_host for known in self._projects.all() if known.docker_host}:
            self._presence.look(docker_host)

    def close(self) -> None:
        """Watch no more."""
        self._presence.close()

    def _awaited(self, docker_host: str) -> set[str]:
        """Return the projects that had containers there. Called in a thread; the list of projects is a copy."""
        return {
            known.name for known in self._projects.all() if known.has_containers and known.docker_host == docker_host
        }

    def _report(self, docker_host: str, present: set[str]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._reported, docker_host, present)

    def _reported(self, docker_host: str, present: set[str]) -> None:
        for known in self._projects.all():
            if known.docker_host != docker_host:
                continue
            if known.name in present and not known.has_containers:
                self._projects.register(replace(known, has_containers=True))
            elif known.name not in present and known.has_containers and not known.is_used_here:
                _log.info("project '%s' has no containers any more: its keys end", known.name)
                task = asyncio.ensure_future(self._end(known.name))
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
