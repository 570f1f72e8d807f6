"""Ends projects whose containers are gone: plain `docker compose down` tells dmrc nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace

from dmrc.background import BackgroundTasks
from dmrc.capture.rows import ExchangeTexts
from dmrc.compose.presence import Presence
from dmrc.exchange import Exchange
from dmrc.projects import Projects, Registration, process_of

_log = logging.getLogger(__name__)

_UNUSED_SECONDS = 7 * 86400.0
_NOTED_SECONDS = 3600.0
"""How often it is written down that a project was used."""


class ProjectEndings:
    """Watches the containers of the projects that are up; made and used on the event loop.

    A project ends when it had containers since it was registered last, and has none any more; and when the Compose that
    was to make them has ended without one. Nobody knows how long a program on this machine needs what `dmrc exec` or
    `dmrc env` gave it: an editor outlives the command that opened it, and variables lie in files. So one that such a
    program uses ends when it has asked nothing for a week, too.
    """

    def __init__(self, projects: Projects, end: Callable[[str], Coroutine[object, object, bool]]) -> None:
        """End a project by `end`."""
        self._projects = projects
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._presence = Presence(self._awaited, self._report)
        self._ending = BackgroundTasks("the end of a project")
        self._heard: dict[str, float] = {}

    def look(self) -> None:
        """Watch the engines of the projects that are up, and ask them now. Returns at once."""
        for docker_host in {known.docker_host for known in self._projects.all() if known.docker_host}:
            self._presence.look(docker_host)

    def heard(self, exchange: Exchange, words: ExchangeTexts) -> None:
        """Take note of a request. May be called from any thread."""
        del words
        if exchange.project is not None:
            self._heard[exchange.project] = exchange.received_at

    def end_unused(self) -> None:
        """End the projects without containers that no program here has used for a week. To be called now and then."""
        self._note_use()
        for known in self._projects.all():
            if known.is_used_here and not known.has_containers and not self._is_used_here(known):
                self._end_soon(known, "was not used for a week")

    def _note_use(self) -> None:
        """Write down what the next daemon has to know."""
        for known in self._projects.all():
            heard = self._heard.get(known.name, 0.0)
            if known.is_used_here and heard > known.used_at + _NOTED_SECONDS:
                self._projects.register(replace(known, used_at=heard))

    def _is_used_here(self, known: Registration) -> bool:
        used_at = max(known.used_at, self._heard.get(known.name, 0.0))
        return known.is_used_here and used_at > time.time() - _UNUSED_SECONDS

    def close(self) -> None:
        """Watch no more; what was heard is written down."""
        self._presence.close()
        self._note_use()

    def _awaited(self, docker_host: str) -> set[str]:
        """Return the projects that should have containers there. Called in a thread; the list of projects is a copy."""
        return {
            known.name
            for known in self._projects.all()
            if known.docker_host == docker_host and _should_have_containers(known)
        }

    def _report(self, docker_host: str, present: set[str], gone: set[str]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._reported, docker_host, present, gone)

    def _reported(self, docker_host: str, present: set[str], gone: set[str]) -> None:
        for known in self._projects.all():
            if known.docker_host != docker_host:
                continue
            if known.name in present and not known.has_containers:
                self._projects.register(replace(known, has_containers=True))
            elif known.name not in gone or not _should_have_containers(known):
                continue
            elif self._is_used_here(known):
                self._projects.register(replace(known, has_containers=False, starter=None))
            else:
                self._end_soon(known, "has no containers any more" if known.has_containers else "got no containers")

    def _end_soon(self, known: Registration, reason: str) -> None:
        _log.info("project '%s' %s: its keys end", known.name, reason)
        self._ending.spawn(self._end(known.name))


def _should_have_containers(known: Registration) -> bool:
    """Return whether a project had some, or the Compose that was to make them has ended."""
    return known.has_containers or (known.starter is not None and process_of(known.starter[0]) != known.starter)
