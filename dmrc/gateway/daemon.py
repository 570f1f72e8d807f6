"""The daemon: one process per user that owns the runners, the keys and the listeners."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from dmrc import daemon_lock
from dmrc.background import BackgroundTasks
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.live import LiveEvents
from dmrc.capture.recorder import Recorder
from dmrc.capture.secrets import KnownSecrets, memory_directory
from dmrc.compose.containers import Containers
from dmrc.engines.engine import Engine
from dmrc.errors import DmrcError, StoreError
from dmrc.gateway.inference.inference import Steps
from dmrc.gateway.inference.lifecycle import Lifecycle, ProjectPolicy
from dmrc.gateway.inference.work import CallCounter
from dmrc.gateway.plugins.context import DaemonParts
from dmrc.gateway.plugins.hooks import Hooks
from dmrc.gateway.projects.endings import ProjectEndings
from dmrc.gateway.projects.keys import Keys
from dmrc.gateway.routes.admin import create_admin_app
from dmrc.gateway.routes.dmr_archives import DmrArchives
from dmrc.gateway.routes.dmr_engines import DmrEngines
from dmrc.gateway.routes.dmr_models import DmrModels
from dmrc.gateway.routes.logs import LogRoutes
from dmrc.gateway.routes.ollama_models import OllamaModels
from dmrc.gateway.routes.requests import History
from dmrc.gateway.routes.transfers import Transfers
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.app import Gateway
from dmrc.gateway.server.bindings import Bindings
from dmrc.gateway.server.callers_by_address import CallersByAddress
from dmrc.gateway.server.connection_shares import raise_limit_of_descriptors, shares_of_commands
from dmrc.gateway.server.cors import Origins
from dmrc.gateway.server.listeners import Listener, bind_unix
from dmrc.gateway.server.logging import mask_with
from dmrc.gateway.server.page_sessions import PageSessions
from dmrc.gateway.serving.catalog import Catalog
from dmrc.gateway.serving.configure import Configurator
from dmrc.hooks.plugin import Plugin
from dmrc.hooks.plugins import Plugins
from dmrc.models import Models
from dmrc.projects import Projects, Registration
from dmrc.scheduler.budget import Budget
from dmrc.scheduler.configuration import Configurations
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.target import Target
from dmrc.settings import Settings

_log = logging.getLogger(__name__)

_TRIM_SECONDS = 60.0
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# A chunk that comes while the recorder computes waits for the GIL no longer than this; Python's own 5 ms are seen.
SWITCH_SECONDS = 0.0005
_RETENTION = {"max_count": 1_000_000, "max_bytes": 2 << 30, "max_age_seconds": 30 * 86400}


class Daemon:
    """Everything that lives as long as the daemon does; made and used on one event loop."""

    def __init__(self, settings: Settings, models: Models, engines: Mapping[str, Engine], plugins: Plugins) -> None:
        """Open the databases, load plugins but those of projects; nothing listens yet.

        Raises:
            StoreError: The state directory cannot be used.
        """
        paths = settings.paths
        self.settings = settings
        self.started_at = time.time()
        self.projects = Projects(paths.registrations)
        self.keys = Keys(paths.registrations)
        self._database = ExchangeDatabase(paths.exchanges)
        self.live = LiveEvents(asyncio.get_running_loop())
        self._secrets = KnownSecrets(memory_directory(settings.home), settings.home)
        self._containers = Containers(self._docker_hosts)
        self._endings = ProjectEndings(self.projects, self.unregister)
        policy = ProjectPolicy(self.projects, self._secrets, self._containers, settings.capture or "full")
        self.recorder = Recorder(self._database, policy=policy)
        self.recorder.on_completed += [self.live.completed, self._endings.heard]
        budget = Budget(settings.memory_bytes)
        self.scheduler = Scheduler(engines, paths.run, paths.logs, budget)
        self.scheduler.mask = self.masked
        self._configurations = Configurations(paths.registrations)
        self.catalog = Catalog(models.store, self._configurations, engines, settings.default_registry)
        self.configurator = Configurator(self._configurations, self.catalog, self.projects, self.scheduler, engines)
        self._admission = Admission(
            self.projects,
            self.keys,
            require_key=settings.require_key,
            origins=Origins(settings.origins),
            hosts=settings.hosts,
        )
        self.hooks = Hooks(plugins, self.projects, self.catalog)
        self.hooks.watch(self.recorder, self.scheduler)
        lifecycle = Lifecycle(self.recorder, self._containers, self.live, self.masked)
        steps = Steps(self._admission, plugins, self.catalog, self.scheduler, lifecycle)
        self.page_sessions = PageSessions(settings.port)
        parts = DaemonParts(
            *(settings, self.scheduler, self.recorder, self._database, self.live, lifecycle, self.catalog, models),
            *(self.projects, plugins, self.page_sessions),
        )
        self.work, self._transfers = CallCounter(), Transfers()
        self._gateway = Gateway(steps, self.configurator, engines, parts)
        self._gateway.add(DmrArchives(self._admission, models.store, settings.default_registry, self._transfers).add_to)
        self._gateway.add(
            DmrModels(self._admission, models, self.scheduler, settings.default_registry, self._transfers).add_to
        )
        self._gateway.add(DmrEngines(self._admission, models.store, self.scheduler, self.catalog, engines).add_to)
        self._gateway.add(LogRoutes(self._admission, self.scheduler, paths).add_to)
        self._gateway.add(OllamaModels(self._admission, models, self.catalog, self.scheduler, self._transfers).add_to)
        self._gateway.add(History(self._admission, self._database, self.live).add_to)
        addresses = CallersByAddress(self.projects, self._containers)
        self.bindings = Bindings(self._gateway, self.work, self.page_sessions, addresses, settings.port)
        self._admin: Listener | None = None
        self._stopping = asyncio.Event()
        self._background = BackgroundTasks("work in the background")

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Listen until SIGTERM, SIGINT or `stop`; then end the runners and close everything.

        Raises:
            PortTakenError: Another process listens on the port.
        """
        try:
            loop = asyncio.get_running_loop()
            for number in _ENDING:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                    loop.add_signal_handler(number, self.stop)
            # First of all: a command that asks meanwhile waits, and does not take this daemon for none.
            admin = self.work.counted(create_admin_app(self), waits=True)
            self._admin = Listener(admin, bind_unix(self.settings.paths.admin_socket), shares_of_commands())
            for registration in self.projects.all():
                await self._plugins_up(registration)
            self.bindings.open_loopback()
            await self._restore_bridges()
            self._endings.look()
            self.work.ready.set()
            on_ready()
            await self._trim_until_stopped()
        finally:
            await self._close()

    def stop(self) -> None:
        """Begin to end."""
        self.live.close()
        self._transfers.end()
        self._stopping.set()

    @property
    def is_ending(self) -> bool:
        """Return whether the end has begun."""
        return self._stopping.is_set()

    async def ending(self) -> None:
        """Wait for the beginning of the end."""
        await self._stopping.wait()

    async def _plugins_up(self, registration: Registration) -> None:
        """Load a project's plugins before its requests come; what goes wrong costs this project's plugins."""
        try:
            await self.hooks.project_up(registration)
        except Exception:  # noqa: BLE001 one project must not keep the others from being served
            _log.exception("the plugins of project '%s' are not told of it", registration.name)

    async def register(self, registration: Registration) -> list[Plugin]:
        """Take a project in, let go of the runners that only its former declarations used; return its own plugins."""
        before = self._known(registration.name)
        self.projects.register(registration.keeping(before[0]) if before else registration)
        registered = self.projects.get(registration.name)
        await self._release(before)
        self._endings.look()
        return await self.hooks.project_up(registered)

    async def join(self, registration: Registration) -> None:
        """Add services to a project, which need not be known yet."""
        before = self._known(registration.name)
        self.projects.register(registration.joined_to(before[0]) if before else registration)
        await self._release(before)
        self._endings.look()

    async def leave(self, name: str, service: str) -> bool:
        """Forget one service of a project, and the project with its last one; return whether it was known."""
        before = [known for known in self._known(name) if service in known.services]
        for known in before:
            left = known.without(service)
            if left is None:
                self.projects.unregister(name)
                self._secrets.forget(name)
            else:
                self.projects.register(left)
        self._forget_plugins(name, await self._release(before))
        return bool(before)

    async def rest(self, name: str, service: str) -> None:
        """Let go of the runners that only one service of a project uses; its key stays."""
        before = self._known(name)
        others = [known for known in self.projects.all() if known.name != name]
        others += [left for known in before if (left := known.without(service)) is not None]
        await self._release(before, others)

    def masked(self, text: str) -> str:
        """Return a text without the secrets of the projects."""
        return self._secrets.masked(text)

    def remember_secrets(self, name: str, values: list[str]) -> None:
        """Keep these values of a project out of the record."""
        self._secrets.remember(name, values)

    async def unregister(self, name: str) -> bool:
        """Forget a project, its keys, and the runners that only it used."""
        before = self._known(name)
        known = self.projects.unregister(name)
        self._secrets.forget(name)
        self._forget_plugins(name, await self._release(before))
        if not self._known(name):  # it may have come again meanwhile
            self.catalog.upstream_keys.forget(name)
        return known

    def load_in_background(self, target: Target) -> None:
        """Load a model for the requests to come; why it cannot be loaded is in the log, and said to the first one."""
        self._background.spawn(self._load(target))

    async def _load(self, target: Target) -> None:
        with contextlib.suppress(DmrcError):  # the scheduler has logged it
            await self.scheduler.load(target)

    def _known(self, name: str) -> list[Registration]:
        return [known for known in self.projects.all() if known.name == name]

    async def _release(
        self, before: list[Registration], after: list[Registration] | None = None
    ) -> list[asyncio.Task[None]]:
        """Begin to end the runners that nobody uses any more; None: `after` is what is registered."""
        if not before:
            return []
        used = await self.catalog.targets_of(before)
        # What is read for the others now is at hand below: nothing may be registered between the list and its use.
        await self.catalog.targets_of(self.projects.all())
        after = self.projects.all() if after is None else after
        return self.scheduler.release(used - await self.catalog.targets_of(after))

    def _forget_plugins(self, name: str, ending: list[asyncio.Task[None]]) -> None:
        """Let go of the plugins of a project that has ended, when they have heard of the end of its runners."""

        async def forget() -> None:
            await asyncio.gather(*ending, return_exceptions=True)
            await self.hooks.settled()
            if not self._known(name):
                self.hooks.project_down(name)

        self._background.spawn(forget())

    def _docker_hosts(self) -> set[str]:
        hosts = [*(known.docker_host for known in self.projects.all()), *(key.docker_host for key in self.keys.all())]
        return set(filter(None, hosts))

    async def _restore_bridges(self) -> None:
        """Listen again for the projects that were up when the last daemon ended: their containers still run."""
        for docker_host in self._docker_hosts():
            try:
                await self.bindings.attach(docker_host)
                if any(known.plain_port for known in self.projects.all() if known.docker_host == docker_host):
                    await self.bindings.attach_plainly(docker_host)
            except (DmrcError, OSError) as error:
                _log.warning("containers of %s cannot reach the gateway: %s", docker_host, error)

    async def _trim_until_stopped(self) -> None:
        """Keep the record within its limits, once a minute, in a thread; and end projects that nobody uses."""
        while not self._stopping.is_set():
            try:
                self._endings.end_unused()
                await asyncio.to_thread(self._database.trim, **_RETENTION)
            except StoreError as error:
                _log.warning("the record of requests is not trimmed: %s", error)
            except Exception:  # noqa: BLE001 the daemon waits here: housekeeping must not end it
                _log.exception("the housekeeping of a minute failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _TRIM_SECONDS)

    async def _close(self) -> None:
        """End everything, in this order; a step that fails keeps none of the others from being done."""
        self._transfers.end()
        steps: tuple[Callable[[], Awaitable[object]], ...] = (
            self._close_listeners,
            self._transfers.wait_end,
            self.scheduler.close,
            partial(asyncio.to_thread, self.settings.paths.admin_socket.unlink, missing_ok=True),
            partial(asyncio.to_thread, self.recorder.close),
            self.hooks.close,
            self._close_files,
        )
        for step in steps:
            try:
                await step()
            except Exception:  # noqa: BLE001 the next steps still have to be done
                _log.exception("a step of the daemon's end failed")

    async def _close_listeners(self) -> None:
        await asyncio.gather(self.bindings.close(), *([self._admin.close()] if self._admin else []))

    async def _close_files(self) -> None:
        self._containers.close()
        self._endings.close()
        self.projects.close()
        self.keys.close()
        self._configurations.close()


def serve(
    settings: Settings,
    models: Models,
    engines: Mapping[str, Engine],
    plugins: Plugins,
    on_ready: Callable[[], None],
) -> None:
    """Run the daemon in this process until it is told to end; blocks.

    Raises:
        DaemonRunningError: Another daemon serves this state directory.
        PortTakenError: Another process listens on the port.
    """
    import uvloop

    async def main() -> None:
        daemon = Daemon(settings, models, engines, plugins)
        mask_with(daemon.masked)
        await daemon.run(on_ready)

    sys.setswitchinterval(SWITCH_SECONDS)
    raise_limit_of_descriptors()
    with daemon_lock.held(settings.paths.create().daemon_lock):
        uvloop.run(main())
