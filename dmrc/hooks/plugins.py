"""The plugins of this process, loaded one at a time: the built-in list, third-party ones, and those of projects."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from dmrc import __version__
from dmrc.errors import PluginError
from dmrc.hooks import specs
from dmrc.hooks.files import import_file, is_path
from dmrc.hooks.in_time import attempted, in_time
from dmrc.hooks.installed import entry_points
from dmrc.hooks.plugin import BUILT_IN_ORIGIN, Identity, Implementation, Plugin, first_line
from dmrc.hooks.validation import check, filter_seconds

if TYPE_CHECKING:  # few commands are about a project
    from dmrc.project import LocalPlugin, Project, Service

_log = logging.getLogger(__name__)

BUILT_IN = {
    "dmrc.cli.commands": ("dmrc_register_commands",),
    "dmrc.engines.container.engine": ("dmrc_register_engines",),
    "dmrc.engines.llama_cpp.engine": ("dmrc_register_engines",),
    "dmrc.engines.llama_cpp_python.engine": ("dmrc_register_engines",),
    "dmrc.engines.upstream.engine": ("dmrc_register_engines",),
    "dmrc.engines.recorded.engine": ("dmrc_register_engines",),
    "dmrc.engines.ssh.engine": ("dmrc_register_engines",),
    "dmrc.engines.vllm.engine": ("dmrc_register_engines",),
    "dmrc.sources.oci": ("dmrc_register_sources",),
    "dmrc.sources.huggingface": ("dmrc_register_sources",),
    "dmrc.sources.url": ("dmrc_register_sources",),
    "dmrc.gateway.plugins.event_log": (
        *("dmrc_exchange_completed", "dmrc_runner_started", "dmrc_runner_stopped"),
        *("dmrc_model_pulled", "dmrc_project_loaded"),
    ),
    "dmrc.gateway.plugins.metrics": (
        *("dmrc_exchange_completed", "dmrc_runner_started", "dmrc_runner_stopped"),
        *("dmrc_model_pulled", "dmrc_register_routes"),
    ),
    "dmrc.ui.routes": ("dmrc_register_routes",),
}
"""Module of each built-in plugin, and the hooks that it implements. A module is imported when one of them is wanted."""

READ_NO_CONTENT = frozenset({"dmrc.gateway.plugins.event_log", "dmrc.gateway.plugins.metrics"})
"""Those to which an exchange may come without its headers and bodies: for them alone it is not read in the daemon."""


NOBODY = ""
"""Stands for a project where a plugin is for the requests of no project."""


class Plugins:
    """The plugins of this process. One thread loads; implementations may be asked for from any."""

    def __init__(self, wanted: Iterable[str] | None = None) -> None:
        """Load nothing yet. `wanted` names the third-party plugins to load, by name, module or path; None is all."""
        self._manager = pluggy.PluginManager("dmrc")
        self._manager.add_hookspecs(specs)
        self._wanted = None if wanted is None else tuple(wanted)
        self._plugins: dict[str, Plugin] = {}
        self._locals: dict[str, LocalPlugin] = {}
        self._asked_others = False
        self._implementations: dict[tuple[str, frozenset[str]], tuple[Implementation, ...]] = {}

    def all(self) -> list[Plugin]:
        """Return all plugins, those that failed or are disabled too, in the order of loading."""
        return list(self._plugins.values())

    def load(self, *hooks: str) -> None:
        """Load the built-in plugins that implement one of `hooks`, then all third-party plugins.

        A third-party plugin that fails is named in the log and skipped.
        """
        for module, implemented in BUILT_IN.items():
            if set(hooks) & set(implemented) and module not in self._plugins:
                plugin = self._plugins[module] = Plugin(Identity(module, BUILT_IN_ORIGIN, __version__))
                self._register(plugin, importlib.import_module(module))
        if not self._asked_others:
            self._asked_others = True
            for plugin, load in self._third_party():
                self._load(plugin, partial(in_time, partial(_made, load), "import"))
                if plugin.state == "failed":
                    _log.warning("plugin '%s' is skipped: %s", plugin.name, plugin.reason)

    @property
    def may_load_local(self) -> bool:
        """Return whether the code of projects may run here: not where no third-party plugin's may."""
        return self._wanted != ()

    def find_local(self, project: str, local: LocalPlugin) -> Plugin | None:
        """Return a project's own plugin, where it is loaded from these very bytes."""
        key = _local_identity(project, local).key
        plugin = self._plugins.get(key)
        return plugin if plugin and plugin.state == "loaded" and self._locals[key] == local else None

    def load_local(self, project: str, local: LocalPlugin, load: Callable[[], object] | None = None) -> Plugin:
        """Load a project's own plugin; a failure is for the caller to name.

        `load` imports it in another way than here and now, for a caller that limits the time.
        """
        plugin = Plugin(_local_identity(project, local))
        self._locals[plugin.identity.key] = local
        if not self.may_load_local:
            plugin.reason = "DMRC_PLUGINS allows none"
            self._plugins[plugin.identity.key] = plugin
        else:
            self._load(plugin, load or partial(import_file, Path(local.path), local.sha256))
        return plugin

    def add(self, name: str, found: object, project: str) -> Plugin:
        """Register an object of dmrc's own as a plugin of one project, or of `NOBODY`, until it is removed.

        Raises:
            PluginError: It breaks a rule of `validation`, or the project has one of this name.
        """
        plugin = Plugin(Identity(name, BUILT_IN_ORIGIN, __version__, project))
        if plugin.identity.key in self._plugins:
            raise PluginError("another plugin has this name")
        self._register(plugin, found)
        self._plugins[plugin.identity.key] = plugin
        return plugin

    def remove(self, plugin: Plugin) -> None:
        """Let go of what `add` returned."""
        self._unload(plugin.identity.key)

    def unload_project(self, project: str, but: Iterable[LocalPlugin] = ()) -> list[Plugin]:
        """Let go of a project's own plugins, but for those that are loaded from these very bytes; return them."""
        kept = [self.find_local(project, local) for local in but]
        own = [each for each in self.all() if each.identity.project == project and not each.is_built_in]
        gone = [each for each in own if each not in kept]
        for plugin in gone:
            self._unload(plugin.identity.key)
        return gone

    def implementations(self, hook: str, projects: Iterable[str] = ()) -> tuple[Implementation, ...]:
        """Return who implements `hook`, in the order of calling: everybody's plugins, and those of `projects`."""
        wanted = projects if isinstance(projects, frozenset) else frozenset(projects)
        cache = self._implementations  # another thread may put a new one in its place meanwhile
        found = cache.get((hook, wanted))
        if found is None:
            found = cache[hook, wanted] = tuple(self._find(hook, wanted))
        return found

    def collect(self, hook: str, **arguments: object) -> list[object]:
        """Ask all implementations, and return what they brought, one list of all, the last loaded first.

        What a built-in one raises comes through: it is about a setting, and for the user.
        """
        brought: list[object] = []
        for implementation in self.implementations(hook):
            try:
                is_ours = implementation.plugin.is_built_in
                answer = implementation(arguments) if is_ours else attempted(implementation, arguments)
            except PluginError:
                continue  # counted and logged
            if isinstance(answer, list | tuple):
                brought += answer
            elif answer is not None:
                implementation.plugin.count_error(hook, f"it returned {type(answer).__name__}, not a list")
        return brought

    def service_environment(
        self, project: Project, service: Service, environment: Mapping[str, str]
    ) -> list[tuple[Plugin, dict[str, str]]]:
        """Chain `dmrc_service_environment`, the first loaded first, and return what each added or changed.

        One that fails, or returns no mapping of texts, changes nothing.
        """
        hook = "dmrc_service_environment"
        changes: list[tuple[Plugin, dict[str, str]]] = []
        current = dict(environment)
        for one in reversed(self.implementations(hook, (project.name,))):
            try:
                answer = attempted(one, {"project": project, "service": service, "environment": dict(current)})
            except PluginError:
                continue  # counted and logged
            if answer is None:
                continue
            if not isinstance(answer, Mapping) or not all(_is_variable(*item) for item in answer.items()):
                one.plugin.count_error(hook, "it returned no mapping of names to texts")
                continue
            changed = {name: text for name, text in answer.items() if current.get(name) != text}
            current |= changed
            changes.append((one.plugin, changed))
        return changes

    def _find(self, hook: str, projects: frozenset[str]) -> Iterable[Implementation]:
        # pluggy keeps them in the order in which it would call them last to first.
        for found in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            plugin = self._plugins.get(found.plugin_name)
            if plugin is not None and (plugin.identity.project is None or plugin.identity.project in projects):
                yield Implementation(plugin, hook, found.function, tuple(found.argnames))

    def _third_party(self) -> Iterable[tuple[Plugin, Callable[[], object]]]:
        """Yield the plugins that are installed, then those that `DMRC_PLUGINS` names and that are not."""
        named = list(self._wanted or ())
        for entry in entry_points("dmrc"):
            distribution = getattr(entry, "dist", None)
            origin, version = (distribution.name, distribution.version) if distribution else (entry.name, "-")
            plugin = Plugin(Identity(entry.name, origin, version))
            if self._wanted is not None and entry.name not in self._wanted:
                plugin.reason = "DMRC_PLUGINS does not name it"
                self._plugins.setdefault(plugin.identity.key, plugin)
                continue
            named = [word for word in named if word != entry.name]
            yield plugin, entry.load
        for word in named:
            if is_path(word):
                yield Plugin(Identity(Path(word).stem, word)), partial(import_file, Path(word))
            else:
                yield Plugin(Identity(word, "module")), partial(_import_named, word)

    def _load(self, plugin: Plugin, load: Callable[[], object]) -> None:
        key = plugin.identity.key
        if key in self._plugins:
            plugin.skip("another plugin has this name")
            self._plugins[f"{key} from {plugin.identity.origin}"] = plugin
            return
        self._plugins[key] = plugin
        try:
            self._register(plugin, load())
        except (Exception, SystemExit) as error:  # noqa: BLE001 third-party code may raise anything
            plugin.skip(first_line(error))

    def _register(self, plugin: Plugin, found: object) -> None:
        """Register a plugin; of a class an object was made.

        Raises:
            PluginError: It breaks a rule of `validation`; it is not registered then.
        """
        key = plugin.identity.key
        try:
            self._manager.register(found, key)
            plugin.hooks = check(self._manager, found, is_local=plugin.identity.project is not None)
            plugin.filter_seconds = filter_seconds(found)
        except (PluginError, pluggy.PluginValidationError, ValueError) as error:
            if self._manager.has_plugin(key):
                self._manager.unregister(name=key)
            raise error if isinstance(error, PluginError) else PluginError(first_line(error)) from error
        plugin.state = "loaded"
        if plugin.identity.version == "-" and isinstance(version := getattr(found, "__version__", None), str):
            plugin.identity = Identity(plugin.name, plugin.identity.origin, version, plugin.identity.project)
        self._implementations = {}

    def _unload(self, key: str) -> None:
        found = self._manager.unregister(name=key) if self._manager.has_plugin(key) else None
        if isinstance(found, types.ModuleType):
            sys.modules.pop(found.__name__, None)
        self._plugins.pop(key, None)
        self._locals.pop(key, None)
        self._implementations = {}


def _made(load: Callable[[], object]) -> object:
    """Return what `load` returns; of a class, an object."""
    found = load()
    return found() if inspect.isclass(found) else found


def _local_identity(project: str, local: LocalPlugin) -> Identity:
    return Identity(local.name, local.path, project=project)


def _import_named(word: str) -> object:
    try:
        return importlib.import_module(word)
    except ModuleNotFoundError as error:
        if error.name != word:
            raise
        raise PluginError("no plugin and no module has this name", remedy="Correct DMRC_PLUGINS") from error


def _is_variable(name: object, text: object) -> bool:
    are_texts = isinstance(name, str) and isinstance(text, str)
    return are_texts and name != "" and "=" not in str(name) and "\0" not in f"{name}{text}"
