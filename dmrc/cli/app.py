"""What commands share: settings, plugins, and the rooms below, each opened when first wanted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import click

from dmrc.hooks.plugins import Plugins
from dmrc.settings import Settings

if TYPE_CHECKING:
    from dmrc.cli.client import DaemonClient
    from dmrc.engines.engine import Engine
    from dmrc.models import Models
    from dmrc.store import Store


class App:
    """One run of the command line."""

    def __init__(self, settings: Settings, plugins: Plugins) -> None:
        """Open nothing yet."""
        self.settings = settings
        self.plugins = plugins

    @cached_property
    def daemon(self) -> DaemonClient:
        """Return the client of the daemon; connects to nothing yet."""
        from dmrc.cli.client import DaemonClient

        return DaemonClient(self.settings)

    @cached_property
    def store(self) -> Store:
        """Return the model store; makes the state directory."""
        from dmrc.store import Store

        return Store(self.settings.paths.create().store)

    @cached_property
    def models(self) -> Models:
        """Return models joined with the places they come from."""
        from dmrc.models import Models

        self.plugins.load("dmrc_register_sources")
        sources = [s for found in self.plugins.hook.dmrc_register_sources(settings=self.settings) for s in found]
        return Models(self.store, sources, self.settings.default_registry)

    @cached_property
    def engines(self) -> Mapping[str, Engine]:
        """Return the engines by name; pluggy calls the plugin loaded last first, and its engine wins."""
        self.plugins.load("dmrc_register_engines")
        engines: dict[str, Engine] = {}
        for found in self.plugins.hook.dmrc_register_engines(settings=self.settings):
            for engine in found:
                engines.setdefault(engine.name, engine)
        return engines


pass_app = click.make_pass_decorator(App)
"""Decorates a command so that it gets the `App` as its first argument."""
