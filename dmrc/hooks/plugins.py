"""Loads plugins one at a time: the built-in list below, then strangers' entry points."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

import pluggy

from dmrc.errors import PluginError
from dmrc.hooks import specs

_log = logging.getLogger(__name__)

BUILT_IN = {
    "dmrc.cli.commands": ("dmrc_register_commands",),
    "dmrc.engines.llama_cpp": ("dmrc_register_engines",),
    "dmrc.engines.llama_cpp_python": ("dmrc_register_engines",),
    "dmrc.sources.oci": ("dmrc_register_sources",),
    "dmrc.sources.huggingface": ("dmrc_register_sources",),
    "dmrc.sources.url": ("dmrc_register_sources",),
}
"""Module of each built-in plugin, and the hooks that it implements. A module is imported when one of them is wanted."""


@dataclass(frozen=True, slots=True)
class FailedPlugin:
    """A plugin that was skipped."""

    name: str
    """Its name."""
    reason: str
    """One line."""


class Plugins:
    """The plugins of this process."""

    def __init__(self, wanted: Iterable[str] | None = None) -> None:
        """Load nothing yet; `wanted` limits the strangers by name, None means all of them."""
        self.manager = pluggy.PluginManager("dmrc")
        self.manager.add_hookspecs(specs)
        self._wanted = None if wanted is None else frozenset(wanted)
        self.failed: list[FailedPlugin] = []

    @property
    def hook(self) -> pluggy.HookRelay:
        """Return the relay: `plugins.hook.dmrc_register_engines(settings=settings)`."""
        return self.manager.hook

    def load(self, *hooks: str) -> None:
        """Load the built-in plugins that implement one of `hooks`, then strangers' plugins.

        A stranger's plugin that fails is recorded in `failed`, named in the log and skipped.
        """
        for module, implemented in BUILT_IN.items():
            if set(hooks) & set(implemented) and not self.manager.has_plugin(module):
                self.register(importlib.import_module(module), module)
        for entry_point in metadata.entry_points(group="dmrc"):
            if self._wanted is None or entry_point.name in self._wanted:
                self._load_stranger(entry_point)

    def _load_stranger(self, entry_point: metadata.EntryPoint) -> None:
        if self.manager.has_plugin(entry_point.name) or any(f.name == entry_point.name for f in self.failed):
            return
        try:
            self.register(entry_point.load(), entry_point.name)
        except Exception as error:  # noqa: BLE001 a stranger's code may raise anything
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self.failed.append(FailedPlugin(entry_point.name, reason))
            _log.warning("plugin '%s' is skipped: %s", entry_point.name, reason)

    def register(self, plugin: object, name: str) -> None:
        """Register one plugin.

        Raises:
            PluginError: It implements a hook that does not exist; it is not registered then.
        """
        self.manager.register(plugin, name)
        try:
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            self.manager.unregister(name=name)
            raise PluginError(str(error).splitlines()[0]) from error
