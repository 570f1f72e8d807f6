"""What commands share: settings, plugins, and the rooms below, each opened when first wanted."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, cast

import click

from dmrc.hooks.plugins import Plugins
from dmrc.settings import Settings

if TYPE_CHECKING:
    from dmrc.capture.database import ExchangeDatabase
    from dmrc.cli.client import DaemonClient
    from dmrc.engines.engine import Engine
    from dmrc.models import Models, Pulled
    from dmrc.sources import Source
    from dmrc.store import Store, StoredModel


class App:
    """One run of the command line."""

    def __init__(self, settings: Settings, plugins: Plugins, command: str = "dmrc") -> None:
        """Open nothing yet; `command` is what others see of this process while it pulls: `dmrc up`."""
        self.settings = settings
        self.command = command
        self.plugins = plugins
        self._sources: Sequence[Source] | None = None
        self._making_sources = threading.Lock()

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

    def sources(self) -> Sequence[Source]:
        """Return the places that models come from, in the order in which they are asked; threads may ask for them."""
        with self._making_sources:
            if self._sources is None:
                self.plugins.load("dmrc_register_sources")
                found = self.plugins.collect("dmrc_register_sources", settings=self.settings)
                self._sources = cast("list[Source]", found)
            return self._sources

    @cached_property
    def models(self) -> Models:
        """Return models joined with the places that they come from and go to."""
        from dmrc.models import Models

        models = Models(self.store, self.sources, self.settings.default_registry, self.command)
        models.on_pulled.append(self._tell_pulled)
        return models

    def model(self, text: str, *, remote: bool) -> StoredModel:
        """Return a model with all its facts: from the store, or from where it would be pulled."""
        from dmrc.models import with_facts

        if remote:
            return self.models.look(text)
        return with_facts(self.store, self.store.resolve(text, self.settings.default_registry))

    def present(self, text: str) -> StoredModel:
        """Return a model of the store, for a command that is only for those that are there.

        Raises:
            ModelNotFoundError: It is not there; to pull it would be no help.
        """
        from dmrc.errors import ModelNotFoundError

        try:
            return self.store.resolve(text, self.settings.default_registry)
        except ModelNotFoundError as error:
            error.remedy = "See: dmrc list"
            raise

    @cached_property
    def engines(self) -> Mapping[str, Engine]:
        """Return the engines by name; pluggy calls the plugin loaded last first, and its engine wins."""
        self.plugins.load("dmrc_register_engines")
        engines: dict[str, Engine] = {}
        for engine in cast("list[Engine]", self.plugins.collect("dmrc_register_engines", settings=self.settings)):
            engines.setdefault(engine.name, engine)
        return engines

    @cached_property
    def record(self) -> ExchangeDatabase:
        """Return the record of requests; every request that was answered by now is in it.

        Where a daemon runs and does not answer, a line says that the newest may be missing.
        """
        from dmrc.capture.database import ExchangeDatabase
        from dmrc.cli.progress import note
        from dmrc.errors import DaemonError, DaemonNotRunningError

        try:
            answer = self.daemon.request("POST", "/requests/flush")
            if isinstance(answer, dict) and not answer.get("written", True):
                note("the newest requests are not written yet: see dmrc logs")
        except DaemonNotRunningError:
            pass  # nothing waits to be written
        except DaemonError as error:
            note(f"the newest requests may be missing: {error}")
        return ExchangeDatabase(self.settings.paths.exchanges)

    def _tell_pulled(self, pulled: Pulled) -> None:
        """Tell plugins of a model that was pulled: those of the daemon where it runs, else those of this process."""
        import json

        from dmrc.cli.progress import note
        from dmrc.errors import DaemonError, DaemonNotRunningError

        facts = {name: getattr(pulled, name) for name in ("reference", "digest", "size_bytes", "seconds")}
        try:
            self.daemon.request("POST", "/pulled", json.dumps(facts))
        except DaemonNotRunningError:
            from dmrc.hooks.notifications import Notifications

            self.plugins.load()  # our own listen in the daemon only
            notifications = Notifications()
            notifications.tell(self.plugins.implementations("dmrc_model_pulled"), **facts)
            notifications.close()
        except DaemonError as error:
            note(f"plugins are not told of the pull: {error}")


pass_app = click.make_pass_decorator(App)
"""Decorates a command so that it gets the `App` as its first argument."""
