"""What `dmrc top` shows, read again and again in a thread of its own: the daemon, and the record on disk."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter
from dmrc.errors import DmrcError
from dmrc.exchange import Exchange
from dmrc.fields import JsonObject
from dmrc.json_values import items_of

if TYPE_CHECKING:
    from dmrc.cli.client import DaemonClient

_LOOK_SECONDS = 1.0
_RECENT = 100


@dataclass(frozen=True, slots=True)
class Glance:
    """What there was in one moment."""

    running: Sequence[JsonObject] = ()
    """Requests that are not answered, as the admin API tells of them."""
    runners: Sequence[JsonObject] = ()
    """Models, as `dmrc ps --json` has them."""
    cards: Sequence[JsonObject] = ()
    """Graphics cards with their memory."""
    ram_total_bytes: int = 0
    """RAM, or what the settings give; 0 where nobody said."""
    ram_free_bytes: int = 0
    """What of that is free."""
    recent: Sequence[Exchange] = ()
    """The last requests on record, the newest first."""
    excerpts: Mapping[str, str] = field(default_factory=dict)
    """The first words of each."""
    away: str = ""
    """Why the daemon says nothing; "" where it does."""
    at: float = field(default_factory=time.time)
    """Unix seconds."""


class Watching:
    """Reads once a second. `look` and the deeds block; they may be called in any thread."""

    def __init__(
        self, daemon: DaemonClient, record: Path, project: str | None = None, service: str | None = None
    ) -> None:
        """Ask this daemon, and read the record at this path; of one project or service where they are named."""
        self._daemon = daemon
        self._path = record
        self._project = project
        self._service = service
        self._database: ExchangeDatabase | None = None
        self.only_failed = False
        """Whether of the last requests those are shown that failed."""
        self._wake = threading.Event()
        self._ends = False

    def follow(self, tell: Callable[[Glance], None]) -> None:
        """Tell of each look until `end`; blocks."""
        while not self._ends:
            self._wake.clear()
            tell(self.look())
            self._wake.wait(_LOOK_SECONDS)

    def soon(self) -> None:
        """Look again at once."""
        self._wake.set()

    def end(self) -> None:
        """Look no more."""
        self._ends = True
        self._wake.set()

    def look(self) -> Glance:
        """Return what there is now."""
        now: JsonObject = {}
        away = ""
        try:
            now = cast(JsonObject, self._daemon.request("GET", "/now"))
        except DmrcError as error:
            away = error.message
        recent, excerpts = self._recent()
        return Glance(
            running=[one for one in items_of(now.get("running")) if self._is_wanted(one)],
            runners=items_of(now.get("runners")),
            cards=items_of(now.get("cards")),
            ram_total_bytes=_number(now.get("ram_total_bytes")),
            ram_free_bytes=_number(now.get("ram_free_bytes")),
            recent=recent,
            excerpts=excerpts,
            away=away,
        )

    def exchange(self, id_: str) -> Exchange:
        """Return a request that is on record, whole.

        Raises:
            NotFoundError: It is not there, or not yet.
        """
        return self.database.get(id_)

    @property
    def database(self) -> ExchangeDatabase:
        """Return the record."""
        if self._database is None:
            self._database = ExchangeDatabase(self._path)
        return self._database

    def cancel(self, id_: str) -> None:
        """End a request that runs; raises what the daemon says."""
        self._daemon.request("POST", f"/requests/{quote(id_, safe='')}/cancel")
        self.soon()

    def unload(self, model: str) -> None:
        """End the runners of a model, when their requests have ended; raises what the daemon says."""
        body = {"all": False, "models": [model], "engine": None, "wait": False}
        self._daemon.request("POST", "/unload", json.dumps(body))
        self.soon()

    def _recent(self) -> tuple[list[Exchange], Mapping[str, str]]:
        query = ExchangeFilter(project=self._project, service=self._service, failed=self.only_failed)
        try:
            page = self.database.page(query, _RECENT)
            return page, self.database.excerpts(page)
        except DmrcError:
            return [], {}

    def _is_wanted(self, one: JsonObject) -> bool:
        wanted = (self._project, one.get("project")), (self._service, one.get("service"))
        return all(asked in (None, given) for asked, given in wanted)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
