"""Takes projects in, and lets them go with the runners, plugins and secrets that only they used."""

from __future__ import annotations

import asyncio

from dmrc.background import BackgroundTasks
from dmrc.capture.secrets import KnownSecrets
from dmrc.gateway.plugins.hooks import Hooks
from dmrc.gateway.projects.endings import ProjectEndings
from dmrc.gateway.replays.replays import Replays
from dmrc.gateway.replays.users import JoinedRun, RunUser
from dmrc.gateway.serving.catalog import Catalog
from dmrc.hooks.plugin import Plugin
from dmrc.projects import Projects, Registration
from dmrc.scheduler.scheduler import Scheduler


class Membership:
    """Which projects are up, as commands and the ends of their containers change it. For one event loop."""

    def __init__(
        self,
        projects: Projects,
        catalog: Catalog,
        scheduler: Scheduler,
        hooks: Hooks,
        secrets: KnownSecrets,
        endings: ProjectEndings,
        replays: Replays,
    ) -> None:
        """Change `projects`, and what follows from that; `endings` look after those that are registered."""
        self._projects = projects
        self._catalog = catalog
        self._scheduler = scheduler
        self._hooks = hooks
        self._secrets = secrets
        self._background = BackgroundTasks("letting go of a project")
        self._endings = endings
        self.replays = replays
        """Which of them record or replay."""

    async def register(
        self, registration: Registration, user: RunUser | None = None
    ) -> tuple[list[Plugin], JoinedRun | None]:
        """Take a project in, let go of the runners that only its former declarations used.

        Return its own plugins, and its run where it records or replays, which `user` waits for.

        Raises:
            CassetteError: It records or replays, and a cassette cannot be read; nothing has changed then.
        """
        joins = registration.starter is None and any(known.binds for known in self._known(registration.name))
        joined = await self.replays.begin(registration, user, joins=joins)
        before = self._known(registration.name)
        self._projects.register((registration.keeping(before[0]) if before else registration).recorded())
        registered = self._projects.get(registration.name)
        await self._release(before)
        self._endings.look()
        return await self._hooks.project_up(registered), joined

    async def join(self, registration: Registration) -> None:
        """Add services to a project, which need not be known yet."""
        before = self._known(registration.name)
        self._projects.register((registration.joined_to(before[0]) if before else registration).recorded())
        await self._release(before)
        self._endings.look()

    async def leave(self, name: str, service: str) -> bool:
        """Forget one service of a project, and the project with its last one; return whether it was known."""
        before = [known for known in self._known(name) if service in known.services]
        for known in before:
            left = known.without(service)
            if left is None:
                self._projects.unregister(name)
                await self.replays.end(name)
                self._secrets.forget(name)
            else:
                self._projects.register(left)
        self._forget_plugins(name, await self._release(before))
        return bool(before)

    async def rest(self, name: str, service: str) -> None:
        """Let go of the runners that only one service of a project uses; its key stays."""
        before = self._known(name)
        others = [known for known in self._projects.all() if known.name != name]
        others += [left for known in before if (left := known.without(service)) is not None]
        await self._release(before, others)

    async def unregister(self, name: str) -> bool:
        """Forget a project, its keys, and the runners that only it used."""
        before = self._known(name)
        known = self._projects.unregister(name)
        await self.replays.end(name)
        self._secrets.forget(name)
        self._forget_plugins(name, await self._release(before))
        if not self._known(name):  # it may have come again meanwhile
            self._catalog.upstream_keys.forget(name)
        return known

    def remember_secrets(self, name: str, values: list[str]) -> None:
        """Keep these values of a project out of the record."""
        self._secrets.remember(name, values)

    def _known(self, name: str) -> list[Registration]:
        return [known for known in self._projects.all() if known.name == name]

    async def _release(
        self, before: list[Registration], after: list[Registration] | None = None
    ) -> list[asyncio.Task[None]]:
        """Begin to end the runners that nobody uses any more; None: `after` is what is registered."""
        if not before:
            return []
        used = await self._catalog.targets_of(before)
        # What is read for the others now is at hand below: nothing may be registered between the list and its use.
        await self._catalog.targets_of(self._projects.all())
        after = self._projects.all() if after is None else after
        return self._scheduler.release(used - await self._catalog.targets_of(after))

    def _forget_plugins(self, name: str, ending: list[asyncio.Task[None]]) -> None:
        """Let go of the plugins of a project that has ended, when they have heard of the end of its runners."""

        async def forget() -> None:
            await asyncio.gather(*ending, return_exceptions=True)
            await self._hooks.settled()
            if not self._known(name):
                self._hooks.project_down(name)

        self._background.spawn(forget())
