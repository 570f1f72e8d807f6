"""The daemon: one process per user that owns the runners, the keys and the listeners."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Protocol, TypeVar

from dmrc.background import BackgroundTasks
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.live import LiveEvents
from dmrc.capture.masking import capture_limits
from dmrc.capture.policy import Retention
from dmrc.capture.recorder import Recorder
from dmrc.capture.secrets import KnownSecrets, memory_directory
from dmrc.compose.containers import Containers
from dmrc.docker_context import is_local, local_docker_host
from dmrc.engines.engine import Engine
from dmrc.errors import DmrcError, StoreError
from dmrc.gateway.comparing.comparisons import Comparisons
from dmrc.gateway.inference.call_counter import CallCounter
from dmrc.gateway.inference.exchange_builder import ExchangeBuilder
from dmrc.gateway.inference.inference import Steps
from dmrc.gateway.inference.lifecycle import Lifecycle, ProjectPolicy
from dmrc.gateway.plugins.context import DaemonParts
from dmrc.gateway.plugins.hooks import Hooks
from dmrc.gateway.projects.diffs import Diffs
from dmrc.gateway.projects.endings import ProjectEndings
from dmrc.gateway.projects.given import GivenProject, take_in
from dmrc.gateway.projects.keys import Keys
from dmrc.gateway.projects.membership import Membership
from dmrc.gateway.replays.asking import RequestReader
from dmrc.gateway.replays.replays import Replays
from dmrc.gateway.routes.admin import create_admin_app
from dmrc.gateway.routes.dmr_archives import DmrArchives
from dmrc.gateway.routes.dmr_engines import DmrEngines
from dmrc.gateway.routes.dmr_models import DmrModels
from dmrc.gateway.routes.hosted import HostedRoutes
from dmrc.gateway.routes.logs import LogRoutes
from dmrc.gateway.routes.ollama_models import OllamaModels
from dmrc.gateway.routes.requests import History
from dmrc.gateway.routes.transfers import Transfers
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.app import Gateway
from dmrc.gateway.server.bindings import Bindings
from dmrc.gateway.server.callers_by_address import CallersByAddress
from dmrc.gateway.server.cors import Origins
from dmrc.gateway.server.page_sessions import PageSessions
from dmrc.gateway.serving.catalog import Catalog
from dmrc.gateway.serving.configure import Configurator
from dmrc.gateway.serving.model_names import ModelNames
from dmrc.gateway.streams.processes import StreamProcesses
from dmrc.hooks.plugins import Plugins
from dmrc.models import Models
from dmrc.project import Replay
from dmrc.projects import Caller, Projects, Registration
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
_RETENTION = Retention(max_count=1_000_000, max_bytes=2 << 30, max_age_seconds=30 * 86400)


class _Closes(Protocol):
    def close(self) -> object: ...


_Part = TypeVar("_Part", bound=_Closes)


class Daemon:
    """Everything that lives as long as the daemon does; made and used on one event loop."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        engines: Mapping[str, Engine],
        plugins: Plugins,
        parts: AsyncExitStack,
    ) -> None:
        """Open the databases, load plugins but those of projects; nothing listens yet.

        Each part is closed with `parts`, before those that were made earlier.

        Raises:
            StoreError: The state directory cannot be used.
        """
        self.settings, self.engines, self._parts, paths = settings, engines, parts, settings.paths
        self.started_at, self._stopping = time.time(), asyncio.Event()
        self.live = LiveEvents(asyncio.get_running_loop())
        self._requests: dict[str, ExchangeBuilder] = {}

        self.projects = self._kept(Projects(paths.registrations))
        self.keys = self._kept(Keys(paths.registrations))
        configurations = self._kept(Configurations(paths.registrations))
        secrets = KnownSecrets(memory_directory(settings.home), settings.home)
        self.masked = secrets.masked
        """Returns a text without the secrets of the projects."""
        self._containers = self._kept(Containers(self._docker_hosts))
        self._endings = self._kept(ProjectEndings(self.projects, self._end_project))
        self.catalog = Catalog(models.store, configurations, engines, settings.default_registry)

        self.hooks = self._kept(Hooks(plugins, self.projects, self.catalog))
        self.database = ExchangeDatabase(paths.exchanges)
        policy = self._policy = ProjectPolicy(self.projects, secrets, self._containers, settings.capture or "full")
        self.recorder = self._kept(Recorder(self.database, capture_limits(settings), policy), blocks=True)
        self.recorder.on_completed += [self.live.completed, self._endings.heard]
        parts.callback(paths.admin_socket.unlink, missing_ok=True)  # until then the command that ends us waits
        self.scheduler = self._kept(Scheduler(engines, paths.run, paths.logs, Budget(settings.memory_bytes)))
        self.scheduler.starts.mask = self.scheduler.starts.kept.mask = self.masked
        self._background = self._kept(BackgroundTasks("work that nobody waits for"))
        self.diffs = Diffs(self.projects, self.catalog, self.scheduler, secrets)
        self.hooks.watch(self.recorder, self.scheduler, self.live)
        self.members = self._made_members(secrets)
        self.configurator = Configurator(configurations, self.catalog, self.projects, self.scheduler, engines)

        self.page_sessions, self.work = PageSessions(settings.port), CallCounter()
        self._transfers = self._kept(Transfers())
        self.hosted = HostedRoutes(models, engines, self.catalog, self.scheduler, self._transfers, paths)
        gateway = self._gateway(models, engines, plugins)
        addresses = CallersByAddress(self.projects, self._containers)
        self.bindings = self._kept(Bindings(gateway, self.work, self.page_sessions, addresses, settings))

    def _kept(self, part: _Part, *, blocks: bool = False) -> _Part:
        """Have a part closed at the end, in a thread where that blocks; one that fails keeps no other from its end."""

        async def close() -> None:
            try:
                closing = asyncio.to_thread(part.close) if blocks else part.close()
                if inspect.isawaitable(closing):
                    await closing
            except Exception:  # noqa: BLE001 the other parts still have to be closed
                _log.exception("a step of the daemon's end failed")

        self._parts.push_async_callback(close)
        return part

    def _may_be_kept(self, caller: Caller | None, address: str | None) -> bool:
        """Return whether a prompt may be in a file while its model is not loaded: no plugin can change it there."""
        project = caller.registration.name if caller is not None else None
        return self._policy.may_be_kept(caller, address) and not self.hooks.filters_capture(project)

    def _made_members(self, secrets: KnownSecrets) -> Membership:
        """Return what takes projects in and lets them go, with what records and replays for them."""
        settings = self.settings
        names = ModelNames(settings.default_registry)
        reader = RequestReader(self.projects, names, self.recorder, self.hooks.filters_capture)
        directory, level = settings.paths.replays, settings.capture or "full"
        replays = self._kept(Replays(self.hooks, self.recorder, reader, directory, level, self._requests))
        parts = (self.projects, self.catalog, self.scheduler, self.hooks, secrets, self._endings, replays)
        return Membership(*parts)

    def _gateway(self, models: Models, engines: Mapping[str, Engine], plugins: Plugins) -> Gateway:
        """Return the gateway with all its routes."""
        settings, store, scheduler, catalog = self.settings, models.store, self.scheduler, self.catalog
        registry, transfers = settings.default_registry, self._transfers
        admission = Admission(
            self.projects,
            self.keys,
            self.diffs,
            require_key=settings.require_key,
            origins=Origins(settings.origins),
            hosts=settings.hosts,
        )
        told = (self.recorder, self._containers, self.live)
        lifecycle = self.lifecycle = Lifecycle(*told, self.masked, self._may_be_kept, self._requests)
        comparisons = self._kept(Comparisons(self.diffs, self.recorder, self.database, settings.port))
        shown = DaemonParts(
            *(settings, scheduler, self.recorder, self.database, self.live, lifecycle, catalog, models),
            *(self.projects, plugins, self.page_sessions, comparisons, engines, transfers),
        )
        streams = self._kept(StreamProcesses(settings.stream_processes))
        steps = Steps(admission, plugins, catalog, scheduler, lifecycle, self._may_be_kept, streams)
        gateway = Gateway(steps, self.configurator, engines, shown)
        gateway.add(DmrArchives(admission, store, registry, transfers).add_to)
        gateway.add(DmrModels(admission, models, scheduler, registry, transfers).add_to)
        gateway.add(DmrEngines(admission, store, scheduler, catalog, engines).add_to)
        gateway.add(LogRoutes(admission, scheduler, settings.paths).add_to)
        gateway.add(OllamaModels(admission, models, catalog, scheduler, transfers).add_to)
        gateway.add(History(admission, self.database, self.live).add_to)
        return gateway

    async def _end_project(self, name: str) -> bool:
        return await self.members.unregister(name)

    async def run(
        self, on_ready: Callable[[], None], given: Sequence[GivenProject] = (), replay: Replay | None = None
    ) -> None:
        """Listen until SIGTERM, SIGINT or `stop`; projects that are `given` are up before anybody can ask.

        `replay` is for requests of no project.

        Raises:
            PortTakenError: Another process listens on the port.
            CassetteError: A cassette of `replay` cannot be read.
        """
        loop = asyncio.get_running_loop()
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                loop.add_signal_handler(number, self.stop)
        await self.bindings.prove_certificate(local_docker_host(os.environ))
        for engine in self.engines.values():
            self._background.spawn(engine.end_left_behind())
        # Before anything else: a command that asks meanwhile waits, and does not take this daemon for none.
        self.bindings.open_admin(create_admin_app(self), self.settings.paths.admin_socket)
        take_in(given, self.projects, self.catalog.upstream_keys, self.members)
        for registration in self.projects.all():
            await self._plugins_up(registration)
            await self.members.replays.resume(registration)
        if replay is not None:
            await self.members.replays.begin_nobodys(replay)
            self.catalog.is_nobody_replayed = not replay.needs_models
        self.bindings.open_loopback()
        self.bindings.open_for_other_machines()
        await self._restore_bridges()
        self._endings.look()
        self.work.ready.set()
        on_ready()
        await self._trim_until_stopped()

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

    def load_in_background(self, target: Target) -> None:
        """Load a model for the requests to come; why it cannot be loaded is in the log, and said to the first one."""
        self._background.spawn(self._load(target))

    async def _load(self, target: Target) -> None:
        with contextlib.suppress(DmrcError):  # the scheduler has logged it
            await self.scheduler.load(target)

    def _docker_hosts(self) -> set[str]:
        """Return the engines on this machine: containers elsewhere do not come in by their own addresses."""
        hosts = [*(known.docker_host for known in self.projects.all()), *(key.docker_host for key in self.keys.all())]
        return {host for host in hosts if host and is_local(host)}

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
                await asyncio.to_thread(self.recorder.trim, _RETENTION)
            except StoreError as error:
                _log.warning("the record of requests is not trimmed: %s", error)
            except Exception:  # noqa: BLE001 the daemon waits here: housekeeping must not end it
                _log.exception("the housekeeping of a minute failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _TRIM_SECONDS)
