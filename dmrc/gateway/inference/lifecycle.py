"""Where the gateway tells what happens to its requests: to those who watch, and to the recorder."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from dmrc.capture.live import LiveEvents, Started
from dmrc.capture.reading import texts_of_messages
from dmrc.capture.recorder import Recorder
from dmrc.capture.redaction import Redactor
from dmrc.capture.secrets import KnownSecrets
from dmrc.compose.containers import Containers
from dmrc.exchange import Exchange
from dmrc.gateway.inference.exchange_builder import ExchangeBuilder
from dmrc.projects import Caller, Projects
from dmrc.settings import CaptureLevel

_log = logging.getLogger(__name__)


_SEARCHED = 16 << 10
"""Characters of a prompt in which secrets are looked for: none is longer than half of it."""
_LONGEST_WORDS = 200


class Lifecycle:
    """Is told of each request three times, on the event loop; nothing here waits."""

    def __init__(
        self,
        recorder: Recorder,
        containers: Containers,
        live: LiveEvents,
        mask: Callable[[str], str],
        may_be_kept: Callable[[Caller | None, str | None], bool],
        running: dict[str, ExchangeBuilder],
    ) -> None:
        """Tell these; `mask` takes secrets out of a text; `running` is kept up to date.

        `may_be_kept` says whether all of a request may be on record, by its caller and its address: others are shown
        without their words.
        """
        self.recorder = recorder
        """Who writes."""
        self._containers = containers
        self._live = live
        self._mask = mask
        self._may_be_kept = may_be_kept
        self.running = running
        """Requests that were read and are not answered, by the ids of their exchanges."""

    def arrived(self, builder: ExchangeBuilder) -> None:
        """Take note of a request of which nothing was checked or read."""
        if _is_of_a_container(builder.client_address):
            self._containers.look(str(builder.client_address))

    def started(self, builder: ExchangeBuilder) -> None:
        """Take note of a request that was read, and goes on its way."""
        self.running[builder.id] = builder
        if self._live.is_watched:
            self._live.started(self.beginning(builder))

    def beginning(self, builder: ExchangeBuilder) -> Started:
        """Return what may be shown of a request that runs: its caller may have written a secret as the model's name."""
        told = builder.beginning()
        model = None if told.model is None else self._mask(told.model)
        is_shown = self._may_be_kept(builder.caller, builder.client_address)
        return replace(told, model=model, prompt=self._first_words(_asked(builder)) if is_shown else "")

    def _first_words(self, text: str) -> str:
        """Return the beginning of a text without secrets; "" where one may be cut by the end of what was searched."""
        masked = self._mask(text[:_SEARCHED])
        if len(text) > _SEARCHED and len(masked) < _SEARCHED // 2:
            return ""
        return masked[:_LONGEST_WORDS]

    def cancel(self, id: str) -> bool:
        """Cancel a request that runs, waits or has its model loaded; False: there is none with this id."""
        builder = self.running.get(id)
        if builder is None or builder.cancel is None:
            return False
        builder.cancel()
        return True

    def completed(self, builder: ExchangeBuilder, level: CaptureLevel | None) -> None:
        """Take note of a request that ended, however; `level` is that of its caller's project."""
        self.running.pop(builder.id, None)
        exchange = builder.finished()
        self.recorder.record(exchange, level, builder.document_of(exchange.request_body))


def _asked(builder: ExchangeBuilder) -> str:
    """Return the beginning of what was asked, which is read once: the page looks four times a second."""
    if builder.asked is None:
        text, _ = texts_of_messages(builder.route.dialect.messages(builder.document))
        builder.asked = text[: _SEARCHED + 1]
    return builder.asked


class ProjectPolicy:
    """The recorder's policy where there are projects; used in the recorder's thread."""

    def __init__(
        self, projects: Projects, secrets: KnownSecrets, containers: Containers, default_level: CaptureLevel
    ) -> None:
        """Look things up here; `default_level` is for projects that say nothing, and for requests of no project."""
        self._projects = projects
        self._secrets = secrets
        self._containers = containers
        self._default_level: CaptureLevel = default_level
        self._told: set[str] = set()

    def may_be_kept(self, caller: Caller | None, address: str | None) -> bool:
        """Return whether a prompt may be in a file while its model is not loaded: where all of it may be on record.

        Whose request it is that comes from a container without a key is only found out later.
        """
        if caller is None:
            return self._default_level == "full" and not _is_of_a_container(address)
        name, level = caller.registration.name, caller.registration.capture or self._default_level
        return level == "full" and (self._projects.find(name) is None or self._secrets.redactor(name) is not None)

    def attributed(self, exchange: Exchange) -> Exchange:
        """Name the container; and its project and service where no key said whose the request is.

        The key of a whole project says nothing of the service.
        """
        if not _is_of_a_container(exchange.client_address):
            return exchange
        container = self._containers.find(str(exchange.client_address))
        if container is None:
            return exchange
        if exchange.key_id is not None and (exchange.service or exchange.project != container.project):
            return replace(exchange, container=container.id)
        return replace(exchange, container=container.id, project=container.project, service=container.service)

    def level(self, exchange: Exchange) -> CaptureLevel:
        """Return what the project says, else the default."""
        known = self._projects.find(exchange.project)
        return (known.capture if known is not None else None) or self._default_level

    def redactor(self, exchange: Exchange) -> Redactor | None:
        """Return what masks the project's secrets; of all projects for a request that is of none that is up."""
        project = exchange.project
        if project is None or self._projects.find(project) is None:
            return self._secrets.redactor(None)
        redactor = self._secrets.redactor(project)
        if redactor is not None:
            self._told.discard(project)
        elif project not in self._told:
            self._told.add(project)
            _log.warning(
                "requests of project '%s' are recorded without headers and bodies, since its secrets, which must not"
                " be recorded, are not known any more. Run dmrc up, dmrc exec or dmrc env again",
                project,
            )
        return redactor


@lru_cache(maxsize=1024)  # asked twice for each request, and there are few containers
def _is_of_a_container(address: str | None) -> bool:
    """Return whether an address may be a container's: it is one, and none of loopback."""
    try:
        return address is not None and not ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
