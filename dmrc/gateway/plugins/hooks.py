"""The daemon's side of the hooks: loads the plugins of projects, and tells plugins what happens in the daemon."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import ModuleType

from dmrc.background import BackgroundTasks
from dmrc.capture.live import LiveEvents
from dmrc.capture.recorder import Recorder
from dmrc.capture.rows import ExchangeTexts
from dmrc.errors import PluginError
from dmrc.exchange import KEY_SCOPE, Exchange, JsonValue
from dmrc.gateway.faults.faults import MadeFaults
from dmrc.gateway.serving.catalog import Catalog
from dmrc.hooks.event_types import Runner
from dmrc.hooks.files import import_file
from dmrc.hooks.filters import filter_capture
from dmrc.hooks.notifications import Notifications
from dmrc.hooks.plugin import Plugin
from dmrc.hooks.plugins import NOBODY, READ_NO_CONTENT, Plugins
from dmrc.hooks.specs import KINDS
from dmrc.project import LocalPlugin
from dmrc.projects import Projects, Registration
from dmrc.scheduler import runner as scheduled
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.states import StopReason
from dmrc.threads import start_thread

_log = logging.getLogger(__name__)

_IMPORT_SECONDS = 10.0

_Told = tuple[Runner, frozenset[Plugin]]
"""A runner, and who is to hear of its end."""


class Hooks:
    """What is told to whom. Made and used on the daemon's event loop; the recorder calls from its thread."""

    def __init__(self, plugins: Plugins, projects: Projects, catalog: Catalog) -> None:
        """Load everybody's plugins; those of projects come with `project_up`."""
        plugins.load(*KINDS)
        self.plugins = plugins
        self._projects = projects
        self._catalog = catalog
        self.faults = MadeFaults(plugins, projects)
        self._notifications = Notifications()
        self._loading = asyncio.Lock()  # two commands may register one project at the same time
        self._starts: dict[scheduled.ManagedRunner, asyncio.Task[_Told]] = {}
        self._telling = BackgroundTasks("telling plugins of a runner")

    def watch(self, recorder: Recorder, scheduler: Scheduler, live: LiveEvents) -> None:
        """Hear from the recorder and the scheduler from now on; exchanges are read here for plugins and who watches."""
        recorder.needs_content = lambda exchange: live.is_watched or self._reads_content(exchange.project)
        recorder.filters.append(self._filter_capture)
        recorder.on_completed.append(self._exchange_completed)
        scheduler.observers.append(self)

    async def project_up(self, registration: Registration) -> list[Plugin]:
        """Load a project's own plugins, those whose file changed anew, and tell of the project; return its plugins."""
        name = registration.name
        async with self._loading:
            self._forget_plugins(name, but=registration.plugins)
            own = [
                self.plugins.find_local(name, local) or await self._load(name, local) for local in registration.plugins
            ]
        self.faults.project_up(name)
        implementations = self.plugins.implementations("dmrc_project_loaded", (name,))
        self._notifications.tell(implementations, project=registration.to_project())
        return own

    def project_down(self, name: str) -> None:
        """Let go of a project's own plugins, and make no faults for it any more."""
        self.faults.project_down(name)
        self._forget_plugins(name)

    def _forget_plugins(self, name: str, but: Iterable[LocalPlugin] = ()) -> None:
        """Let go of a project's own plugins, but for these."""
        for plugin in self.plugins.unload_project(name, but):
            self._notifications.forget(plugin)

    def model_pulled(self, facts: dict[str, JsonValue]) -> None:
        """Tell of a model that came; `facts` are the arguments of `dmrc_model_pulled`."""
        self._notifications.tell(self.plugins.implementations("dmrc_model_pulled"), **facts)

    def filters_capture(self, project: str | None) -> bool:
        """Return whether plugins change what is recorded of a project's requests."""
        return bool(self.plugins.implementations("dmrc_filter_capture", _scope(project)))

    def settle(self, plugin: Plugin, timeout: float) -> bool:
        """Block until a plugin has heard all that it was told (True), or `timeout` seconds have passed."""
        return self._notifications.settle(plugin, timeout)

    def let_go(self, plugin: Plugin) -> None:
        """Let go of a plugin of dmrc's own; it hears what waits for it."""
        self.plugins.remove(plugin)
        self._notifications.forget(plugin)

    async def settled(self) -> None:
        """Wait until all is on its way to plugins that has happened."""
        await asyncio.gather(*self._telling.running(), return_exceptions=True)

    async def close(self) -> None:
        """Wait a short time for plugins to hear what they were not told yet."""
        await self.settled()
        await asyncio.to_thread(self._notifications.close)

    async def _load(self, project: str, local: LocalPlugin) -> Plugin:
        """Load one. Its import runs in a thread, and is given up when it hangs."""
        if not self.plugins.may_load_local:
            return self.plugins.load_local(project, local)
        load = partial(import_file, Path(local.path), local.sha256)
        importing = asyncio.wrap_future(start_thread(load, f"plugin-{local.name}"))
        # Nobody may be left to hear of a failure.
        importing.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait({importing}, timeout=_IMPORT_SECONDS)
        plugin = self.plugins.load_local(project, local, partial(_imported, importing))
        if plugin.state == "failed":
            _log.warning("plugin '%s' of project '%s' is skipped: %s", local.path, project, plugin.reason)
        return plugin

    def _reads_content(self, project: str | None) -> bool:
        """Return whether a plugin must see a project's requests whole: to filter their record, or to read it."""
        heard = self.plugins.implementations("dmrc_exchange_completed", _scope(project))
        return self.filters_capture(project) or any(one.plugin.name not in READ_NO_CONTENT for one in heard)

    def _filter_capture(self, exchange: Exchange) -> Exchange | None:
        implementations = self.plugins.implementations("dmrc_filter_capture", _scope(exchange.project))
        return filter_capture(implementations, exchange) if implementations else exchange

    def _exchange_completed(self, exchange: Exchange, words: ExchangeTexts) -> None:
        del words  # plugins may read them from the exchange
        implementations = self.plugins.implementations("dmrc_exchange_completed", _scope(exchange.project))
        self._notifications.tell(implementations, exchange=exchange)

    def runner_started(self, runner: scheduled.ManagedRunner) -> None:
        """Tell of a runner that answers."""
        self._starts[runner] = self._telling.spawn(self._tell_start(_value(runner)))

    def runner_stopped(self, runner: scheduled.ManagedRunner) -> None:
        """Tell those that were there when it started: every start that a plugin heard of has one end."""
        exit_code = runner.process.exit_code if runner.process else None
        self._telling.spawn(self._tell_end(self._starts.pop(runner), exit_code, runner.stop_reason))

    async def _tell_start(self, runner: Runner) -> _Told:
        projects = [each for each in self._projects.all() if each.plugins]
        users = [each.name for each in projects if runner.id in await self._catalog.targets_of([each])]
        told = [one.plugin for one in self.plugins.implementations("dmrc_runner_stopped", users)]
        self._notifications.tell(self.plugins.implementations("dmrc_runner_started", users), runner=runner)
        return runner, frozenset(told)

    async def _tell_end(self, start: asyncio.Task[_Told], exit_code: int | None, reason: StopReason) -> None:
        runner, told = await start
        projects = {plugin.identity.project for plugin in told if plugin.identity.project}
        every = self.plugins.implementations("dmrc_runner_stopped", projects)
        implementations = [one for one in every if one.plugin in told]
        self._notifications.tell(implementations, runner=runner, exit_code=exit_code, reason=reason)


def _imported(future: asyncio.Future[ModuleType]) -> ModuleType:
    if not future.done():
        raise PluginError(f"its import took more than {_IMPORT_SECONDS:.0f} s")
    return future.result()


def _scope(project: str | None) -> tuple[str, ...]:
    """Return whose plugins hear of a request: its project's, or those that are for requests of none."""
    return (NOBODY,) if project is None or project.startswith(KEY_SCOPE) else (project,)


def _value(runner: scheduled.ManagedRunner) -> Runner:
    target, need, load_seconds = runner.target, runner.need, runner.load_seconds or 0.0
    return Runner(
        id=runner.key,
        started_at=time.time() - load_seconds,
        load_seconds=load_seconds,
        model_reference=target.reference,
        model_digest=target.digest or "",
        engine=target.engine,
        mode=target.mode,
        context_tokens=target.context_size or 0,
        parallel=runner.parallel,
        memory_bytes=need.memory.total_bytes if need else 0,
    )
