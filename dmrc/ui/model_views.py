"""What the page of models shows, as values: memory, disk, runners, pulls and what is stored."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dmrc.capture.queries import ExchangeFilter
from dmrc.engines.devices import Device
from dmrc.errors import DmrcError, InvalidReferenceError
from dmrc.figures import span_text
from dmrc.models import RunningPull
from dmrc.models.description import trained_context
from dmrc.project import DEFAULT_ENGINE
from dmrc.reference import Reference
from dmrc.scheduler.description import describe_runner
from dmrc.scheduler.outlook import Forecast

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts
    from dmrc.store import StoredModel

_DISK_SECONDS = 30.0
"""To count a store every file is looked at."""


@dataclass(frozen=True, slots=True)
class Space:
    """Memory or disk: what there is, and who has how much of it."""

    title: str
    """`Memory`, `CUDA0`, `Disk`."""
    about: str
    """What it is, for people."""
    total_bytes: int
    """All of it."""
    free_bytes: int
    """What a model could have."""
    ours_bytes: int
    """What models hold, or the store."""
    ours: str
    """What to call that: `models`, `store`."""

    @property
    def others_bytes(self) -> int:
        """Return what everybody else has."""
        return max(0, self.total_bytes - self.free_bytes - self.ours_bytes)


@dataclass(frozen=True, slots=True)
class RunningTable:
    """What `running.html` shows."""

    runners: Sequence[Mapping[str, object]]
    """As `describe_runner` has them, each with the `name` that it is shown by."""
    cards: Sequence[tuple[Device, float]]
    """The graphics cards as engines saw them last, and in which Unix second."""
    now: float
    """The Unix second of this page."""

    @property
    def most_bytes(self) -> int:
        """Return what the largest one takes, which all bars are drawn to."""
        return max((sum(parts_of(one).values()) for one in self.runners), default=0)

    def leaves(self, runner: Mapping[str, object]) -> str:
        """Return what happens to a runner next: `Unloads in 4 min 18 s`."""
        began, expires = runner.get("began_at"), runner.get("expires_at")
        if runner["state"] in ("waiting", "starting") and isinstance(began, int | float):
            return f"Loading for {span_text((self.now - began) * 1000)}"
        if runner["keep_alive_seconds"] == -1:
            return "Stays loaded"
        if isinstance(expires, int | float):
            left = round(expires - self.now)
            return f"Unloads in {span_text(left * 1000)}" if left > 0 else "Unloads now"
        return ""


def parts_of(runner: Mapping[str, object]) -> dict[str, int]:
    """Return the parts of a runner's memory, those with nothing in them left out."""
    parts = runner.get("memory_parts")
    return {str(name): int(size) for name, size in parts.items() if size} if isinstance(parts, Mapping) else {}


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A model of the store."""

    name: str
    """The name that it is shown by: the shortest of its names."""
    names: Sequence[str]
    """All of them."""
    full_name: str
    """That name in full, as the record has it."""
    digest: str
    """Of its manifest."""
    architecture: str
    """`llama`; empty where its package does not say."""
    parameters: str
    """`361.82 M`."""
    quantization: str
    """`Q4_K_M`."""
    context: int | None
    """Tokens that it is served with where nobody says otherwise, or was trained for."""
    size_bytes: int
    """Of all its files."""
    runner: str | None = None
    """Id of one that runs it now."""
    forecast: Forecast | None = None
    """Whether it would load, and what it would take; None until that was looked at."""
    services: Sequence[tuple[str, str]] = ()
    """Projects that are up, and their services, that declare it."""
    last_used: float | None = None
    """Unix second of the last request on record."""


@dataclass(frozen=True, slots=True)
class FailedPull:
    """A pull of this page that failed, and that nobody has put away yet."""

    model: str
    """What was to be pulled."""
    message: str
    """Why not."""


@dataclass(slots=True)
class ModelViews:
    """Reads the daemon. On its event loop; what takes files is read in threads."""

    parts: DaemonParts
    """The daemon."""
    _disk: tuple[float, int] | None = field(default=None)

    def display(self, tag: str) -> str:
        """Return the name that people know a model by."""
        try:
            return Reference.parse(tag).display(default_registry=self.parts.settings.default_registry)
        except InvalidReferenceError:
            return tag  # the model of an upstream, which has names of its own

    def runners(self) -> list[dict[str, object]]:
        """Return what runs."""
        return [
            {**describe_runner(runner), "name": self.display(runner.target.reference)}
            for runner in self.parts.scheduler.runners()
        ]

    def running(self) -> RunningTable:
        """Return what runs, as its table shows it."""
        seen = sorted(self.parts.scheduler.devices.last.values(), key=lambda answer: answer.at)
        cards = {device.name: (device, answer.at) for answer in seen for device in answer.devices}
        return RunningTable(self.runners(), tuple(cards.values()), time.time())

    async def pulls(self) -> list[RunningPull]:
        """Return the pulls of everybody."""
        return await asyncio.to_thread(self.parts.models.pulls.running)

    async def spaces(self) -> list[Space]:
        """Return the memory and the disk."""
        outlook = self.parts.scheduler.outlook
        ram = outlook.rooms(DEFAULT_ENGINE)
        is_limited = self.parts.settings.memory_bytes is not None
        about = "for models, by DMRC_MEMORY" if is_limited else "RAM of this machine"
        found = [Space("Memory", about, ram.total_bytes, max(0, ram.now.ram_bytes), outlook.held_bytes(), "models")]
        for name in self.parts.scheduler.devices.last:
            for card in outlook.rooms(name).now.cards:
                ours = sum(runner.held.on(card.device.name) for runner in self.parts.scheduler.runners())
                total = card.device.total_bytes
                found.append(Space(card.device.name, card.device.description, total, card.free_bytes, ours, "models"))
        return [*found, await asyncio.to_thread(self._disk_space)]

    def _disk_space(self) -> Space:
        root = self.parts.settings.paths.store
        there = next(path for path in (root, *root.parents) if path.exists())
        usage, now = shutil.disk_usage(there), time.monotonic()
        if self._disk is None or now - self._disk[0] > _DISK_SECONDS:
            counted = self.parts.models.store.usage()
            self._disk = now, counted.models_bytes + counted.unused_bytes
        return Space("Disk", str(Path(root)), usage.total, usage.free, self._disk[1], "store")

    async def stored(self) -> list[StoredRow]:
        """Return what is in the store, without what takes long to find out."""
        running = {runner.target.digest: runner.key for runner in self.parts.scheduler.runners()}
        models = await asyncio.to_thread(self.parts.models.store.models)
        rows = [self.row(model, running.get(model.digest)) for model in models]
        return sorted(rows, key=lambda row: row.name)

    async def looked_at(self, rows: Sequence[StoredRow]) -> list[StoredRow]:
        """Return the rows with what each model needs, who declares it, and when it was last used."""
        targets = {}
        for row in rows:
            try:
                targets[row.digest] = (await self.parts.catalog.resolved(None, row.name, None)).target
            except DmrcError:
                continue  # what is wrong with it is said when it is loaded
        forecasts = await self.parts.scheduler.outlook.forecasts(list(targets.values()))
        by_digest = dict(zip(targets, forecasts, strict=True))
        declared = self._declared()
        last = await asyncio.to_thread(self._last_used, rows)
        return [
            replace(
                row,
                forecast=by_digest.get(row.digest, Forecast("unknown")),
                services=sorted({use for name in row.names for use in declared.get(name, ())}),
                last_used=used,
            )
            for row, used in zip(rows, last, strict=True)
        ]

    def row(self, model: StoredModel, runner: str | None = None) -> StoredRow:
        """Return the row of a model."""
        names = sorted((self.display(tag) for tag in model.tags), key=lambda name: (len(name), name))
        return StoredRow(
            name=names[0] if names else model.digest,
            names=names,
            full_name=self._full(names[0]) if names else model.digest,
            digest=model.digest,
            architecture=model.config.architecture or "",
            parameters=model.config.parameters or "",
            quantization=model.config.quantization or "",
            context=model.config.context_size or trained_context(model),
            size_bytes=model.size_bytes,
            runner=runner,
        )

    def _full(self, name: str) -> str:
        return str(Reference.parse(name, default_registry=self.parts.settings.default_registry))

    def _declared(self) -> dict[str, list[tuple[str, str]]]:
        """Return the services of the projects that are up, by the names of their models."""
        found: dict[str, list[tuple[str, str]]] = {}
        for project in self.parts.projects.all():
            for service, keys in project.services.items():
                for key in keys:
                    name = self.display(project.models[key].model) if key in project.models else ""
                    found.setdefault(name, []).append((project.name, service))
        return found

    def _last_used(self, rows: Sequence[StoredRow]) -> list[float | None]:
        found = []
        for row in rows:
            queries = [ExchangeFilter(model=self._full(name)) for name in row.names]
            last = [one for query in queries for one in self.parts.database.page(query, 1)]
            found.append(max((one.received_at for one in last), default=None))
        return found
