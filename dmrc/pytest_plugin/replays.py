"""The daemon of the tests of one pytest, and the projects that it has for them: one for each test."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from dmrc.cli.app import App
from dmrc.cli.projects.setup.injection import load_plugins, with_plugins
from dmrc.cli.projects.setup.prepare import PrepareOptions, prepare
from dmrc.cli.projects.setup.read_project import read_project, upstream_keys
from dmrc.cli.projects.setup.replay_report import last_run
from dmrc.cli.projects.setup.replaying import ReplayWish
from dmrc.compose.command import ComposeOptions
from dmrc.errors import DaemonError, DaemonNotRunningError, PortTakenError
from dmrc.hooks.plugins import Plugins
from dmrc.project import GATEWAY_HOST, Access, Project, inject, own_names
from dmrc.pytest_plugin.given import ReplayedService
from dmrc.pytest_plugin.replayed_test import ReplayedTest
from dmrc.pytest_plugin.wishes import Wish, mode_of
from dmrc.settings import Settings

_KEPT_SETTINGS = ("DMRC_PLUGINS", "DMRC_ALLOW_PATHS", "DMRC_LOG_FORMAT")
"""What of the user's settings holds for a daemon of tests too: the others are of the models and machines at hand."""
_TRIES = 3
_NAME = re.compile(r"-test-(\d+)-[0-9a-f]{10}$")


class ReplaySession:
    """Begins a replay for each test. For one process and one thread.

    A replay needs nothing of the user's dmrc, and gets a daemon of its own below pytest's cache, on a free port. All
    processes of pytest-xdist share it, and a pytest that was killed leaves it to the next one. A recording asks the
    user's daemon, which has the models.
    """

    def __init__(self, config: pytest.Config, *, daemon_is_ours: bool = False) -> None:
        """Start nothing yet. `daemon_is_ours` where another process of this pytest has started the daemon."""
        self._mode = mode_of(config)
        self._home = _home(config) if self._mode == "replay" else None
        self._worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        self._app: App | None = None
        self._projects: dict[ComposeOptions, Project] = {}
        self._names: list[str] = []
        self.daemon_is_ours = daemon_is_ours
        """Whether the daemon runs for this pytest, and is to end with it."""

    def begin(self, item: pytest.Item) -> ReplayedTest:
        """Register a project for one test, with a run of its own.

        Raises:
            DmrcError: There is no cassette, no such service, or a model cannot be had.
        """
        wish = Wish.of(item)
        project = self._project(wish)
        service = wish.service_of(project)
        wish.check_cassette(service)
        app = self._opened()
        project = replace(project, name=self._name(project.name, item.nodeid))
        new = Path(tempfile.mkdtemp(prefix="dmrc-")) if self._mode == "record" and wish.is_own_cassette else None
        if new is not None:
            project = replace(project, replay=replace(wish.replay, directory=str(new), ignore=_ignored(project)))
        models = project.models_of([project.services[service]])
        keys = upstream_keys(project, () if self._home else models, wish.options, os.environ)
        with self._environment(app):
            if app.daemon.status() is None:
                self.daemon_is_ours = True
            prepared = prepare(app, project, PrepareOptions(None, keys, models, load=False, is_used_here=True))
        self._names.append(project.name)
        given = _given(app, project, service, prepared.keys[service])
        return ReplayedTest(app, project, item, wish, service, given, self._ended, new)

    def forget_projects(self) -> None:
        """End the projects that tests have left."""
        for name in tuple(self._names):
            self._forget(name)

    def end_daemon(self) -> None:
        """End the daemon, where it runs for this pytest, unless another pytest uses it just now."""
        if not self.daemon_is_ours:
            return
        app = self._app or _app_of(_settings(self._home, 1))
        with self._lock(), contextlib.suppress(DaemonNotRunningError):
            if self._home is not None:
                _forget_killed(app)
            if app.daemon.stop(unless="used") and self._home is not None:
                shutil.rmtree(self._home, ignore_errors=True)
                shutil.rmtree(app.settings.paths.run, ignore_errors=True)

    def _ended(self, name: str) -> None:
        """Hear that a test has ended. While models answer, its project stays: with it they would go, and come again."""
        if self._mode == "replay":
            self._forget(name)

    def _forget(self, name: str) -> None:
        app = self._opened()
        self._names.remove(name)
        with contextlib.suppress(DaemonError):  # without a daemon it is forgotten when the next one starts
            app.daemon.request("DELETE", f"/projects/{name}")
        shutil.rmtree(app.settings.paths.projects / name, ignore_errors=True)
        last_run(app, name).unlink(missing_ok=True)

    def _opened(self) -> App:
        """Return what asks the daemon; in a replay the daemon runs then."""
        if self._app is not None:
            return self._app
        if self._home is None:
            self._app = _app_of(_settings(None, 0))
            return self._app
        self.daemon_is_ours = True
        with self._lock():
            self._app = self._running_app(self._home)
        return self._app

    def _running_app(self, home: Path) -> App:
        """Return what asks the daemon of a replay; start it where none runs, on a port that is free."""
        status = _app_of(_settings(home, 1)).daemon.status()
        if status is not None:
            return _app_of(_settings(home, int(str(status["port"]))))
        for tries in range(1, _TRIES + 1):
            app = _app_of(_settings(home, _free_port()))
            try:
                with self._environment(app):
                    app.daemon.ensure()
                break
            except PortTakenError:  # by another program, a moment ago
                if tries == _TRIES:
                    raise
        return app

    def _lock(self) -> contextlib.AbstractContextManager[object]:
        """Return the lock under which the daemon of replays starts and ends."""
        if self._home is None:
            return contextlib.nullcontext()
        self._home.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self._home.with_suffix(".lock"))

    @contextlib.contextmanager
    def _environment(self, app: App) -> Iterator[None]:
        """Have a daemon that starts inside read the settings of `app`."""
        with pytest.MonkeyPatch.context() as patch:
            if self._home is not None:
                for name in [name for name in os.environ if name.startswith("DMRC_") and name not in _KEPT_SETTINGS]:
                    patch.delenv(name)
                patch.setenv("DMRC_HOME", str(app.settings.home))
                patch.setenv("DMRC_PORT", str(app.settings.port))
            yield

    def _project(self, wish: Wish) -> Project:
        """Return the project of a test; a compose file is read once, which takes longer than all else."""
        if wish.options not in self._projects:
            replaying = ReplayWish(self._mode, Path(wish.replay.directory))
            app = _app_of(_settings(self._home, 1))
            self._projects[wish.options] = read_project(app, wish.options, replaying=replaying)
        project = self._projects[wish.options]
        return replace(project, replay=replace(wish.replay, ignore=_ignored(project)))

    def _name(self, project: str, node_id: str) -> str:
        """Return a name that no test of another process has at the same time, and that tells of this process."""
        unique = hashlib.sha256(f"{node_id} {self._worker}".encode()).hexdigest()
        return f"{project}-test-{os.getpid()}-{unique[:10]}"


def _forget_killed(app: App) -> None:
    """End the projects of tests whose process is gone: one that was killed ended nothing."""
    import psutil

    projects = app.daemon.request("GET", "/projects")
    for entry in projects if isinstance(projects, list) else ():
        name = str(entry["name"]) if isinstance(entry, dict) else ""
        if (found := _NAME.search(name)) and not psutil.pid_exists(int(found[1])):
            app.daemon.request("DELETE", f"/projects/{name}")


def _ignored(project: Project) -> tuple[str, ...]:
    """Return what the compose file says of a request may differ."""
    return project.replay.ignore if project.replay else ()


def _given(app: App, project: Project, service: str, key: str) -> ReplayedService:
    """Return what a test is given: what `dmrc exec` would give the service's program."""
    before = {name: value for name, value in os.environ.items() if name in ("NO_PROXY", "no_proxy")}
    names = ("127.0.0.1", "localhost", GATEWAY_HOST)
    access = Access(host="127.0.0.1", port=app.settings.port, key=key, names=names, no_proxy_before=before)
    found = project.services[service]
    load_plugins(app, project)
    injection = with_plugins(app, project, {service: inject(project, found, access)})[service]
    declared = {name: value for name, value in found.environment.items() if value is not None}
    models = [project.models[name] for name in found.model_keys]
    model = next(name for name, each in own_names(models).items() if each.key == found.first_binding.key)
    return ReplayedService(access.plain_url, key, model, {**declared, **injection.variables})


def _home(config: pytest.Config) -> Path:
    """Return where the daemon of replays has its state: the same for all processes of one project's tests."""
    cache = getattr(config, "cache", None)
    if cache is not None:
        with contextlib.suppress(OSError):
            return Path(cache.mkdir("dmrc")) / "home"
    name = hashlib.sha256(os.fsencode(config.rootpath)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"dmrc-pytest-{os.getuid()}-{name}" / "home"


def _app_of(settings: Settings) -> App:
    return App(settings, Plugins(settings.plugins))


def _settings(home: Path | None, port: int) -> Settings:
    """Return the settings of a daemon for replays, which is found by any port; without a home those of the user."""
    if home is None:
        return Settings.from_environment(os.environ)
    kept = {name: os.environ[name] for name in _KEPT_SETTINGS if name in os.environ}
    return Settings.from_environment({**kept, "DMRC_HOME": str(home), "DMRC_PORT": str(port)})


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
