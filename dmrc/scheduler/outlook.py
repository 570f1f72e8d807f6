"""What memory is free now, and whether a model would fit into it: by the same plan that a load follows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from dmrc.engines.engine import Engine
from dmrc.errors import DmrcError
from dmrc.gguf import format_size
from dmrc.scheduler.budget import Budget, MemoryUse
from dmrc.scheduler.fitting import MemoryNeed, best_fit, needs
from dmrc.scheduler.room import Reading, Room
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.runners import Runners
from dmrc.scheduler.seen_devices import SeenDevices
from dmrc.scheduler.states import RunnerState
from dmrc.scheduler.target import Target

Verdict = Literal["fits", "fits-later", "too-large", "unknown"]
"""`fits`: it loads at once. `fits-later`: others are in its way that can be unloaded. `unknown`: nobody here counts."""

_SAID: Mapping[Verdict, str] = {
    "fits": "Fits",
    "fits-later": "Fits once others are unloaded",
    "too-large": "Does not fit",
    "unknown": "",
}
_CONTEXTS = (4096, 8192, 16384, 32768, 65536, 131072, 262144)


@dataclass(frozen=True, slots=True)
class Rooms:
    """The memory that one engine's models may take."""

    now: Room
    """What is free."""
    emptied: Room
    """What would be free if all were unloaded that may be."""
    total_bytes: int
    """What there is of RAM, or the limit that the settings give."""
    seen_seconds_ago: float | None
    """How long ago the engine was asked for its cards; None: it was not."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would become of a load."""

    verdict: Verdict
    """Whether it would be well."""
    need: MemoryNeed | None = None
    """What it would take: what fits best now, or later, or the least that it can do with; None where nobody counts."""

    @property
    def said(self) -> str:
        """Return whether it fits, for people; nothing where that is not known."""
        return _SAID[self.verdict]

    @property
    def needs(self) -> str:
        """Return what it takes, for people: `1.20 GB`, or `8.00 GB on CUDA0, 1.00 GB of RAM`; nothing where unknown."""
        if self.need is None:
            return ""
        memory = self.need.memory
        if not memory.device_bytes:
            return format_size(memory.everywhere_bytes)
        where = " and ".join(self.need.cards)
        return f"{format_size(memory.device_bytes)} on {where}, {format_size(memory.bare_bytes)} of RAM"

    @property
    def everywhere_bytes(self) -> int | None:
        """Return all that it takes without memory for earlier prompts, in RAM and on cards."""
        return None if self.need is None else self.need.memory.everywhere_bytes


class Outlook:
    """Looks at what runs. For one event loop; nothing here starts, ends or asks anything."""

    def __init__(
        self,
        budget: Budget,
        runners: Runners,
        devices: SeenDevices,
        engines: Mapping[str, Engine] = MappingProxyType({}),
    ) -> None:
        """See what the scheduler sees."""
        self.engines = engines
        """By name."""
        self._budget = budget
        self._runners = runners
        self._devices = devices

    def rooms(self, engine: str) -> Rooms:
        """Return what models of an engine may take; of cards, as they were when it was asked last."""
        holders = [runner for runner in self._runners.alive() if runner.need is not None]
        staying = [runner for runner in holders if runner.is_pinned and runner.state is not RunnerState.DRAINING]
        seen = self._devices.last.get(engine)
        age = None if seen is None else max(0.0, time.time() - seen.at)
        reading = Reading() if seen is None else Reading(seen.devices, time.monotonic() - (age or 0.0))
        held = _held(holders)
        now = self._budget.room(held, (), reading)
        going = _held([runner for runner in holders if runner not in staying])
        emptied = self._budget.room(_held(staying), going, reading)
        return Rooms(now, emptied, self._budget.total(), age)

    def held_bytes(self) -> int:
        """Return the RAM that runners hold or were promised, all together."""
        return sum(runner.held.estimated_bytes for runner in self._runners.alive())

    async def forecasts(self, targets: Sequence[Target]) -> list[Forecast]:
        """Return what would become of a load of each, by itself, now; computed in a thread."""
        rooms = {name: self.rooms(name) for name in {target.engine for target in targets} if name in self.engines}
        return await asyncio.to_thread(self._forecasts, targets, rooms)

    async def by_context(self, target: Target) -> list[tuple[int, Forecast]]:
        """Return forecasts for the usual sizes of a context; none where nobody counts."""
        engine = self.engines.get(target.engine)
        if engine is None or target.model is None:
            return []
        return await asyncio.to_thread(forecasts_by_context, engine, target, self.rooms(target.engine))

    def _forecasts(self, targets: Sequence[Target], rooms: Mapping[str, Rooms]) -> list[Forecast]:
        known = self.engines
        return [
            forecast(known[target.engine], target, rooms[target.engine])
            if target.engine in rooms
            else Forecast("unknown")
            for target in targets
        ]


def _held(runners: list[ManagedRunner]) -> list[MemoryUse]:
    return [runner.held for runner in runners]


def forecast(engine: Engine, target: Target, rooms: Rooms) -> Forecast:
    """Return what would become of a load now; it computes, and reads no file."""
    try:
        fit = best_fit(engine, target, rooms.now)
        if fit is not None:
            return Forecast("fits", fit)
        fit = best_fit(engine, target, rooms.emptied)
        if fit is not None:
            return Forecast("fits-later", fit)
        fewest = needs(engine, target)
    except DmrcError:  # it names a card that is not there: the load says so
        return Forecast("unknown")
    return Forecast("too-large", fewest[-1]) if fewest else Forecast("unknown")


def forecasts_by_context(engine: Engine, target: Target, rooms: Rooms) -> list[tuple[int, Forecast]]:
    """Return forecasts for the usual sizes of a context, up to what the model was trained for, with one slot."""
    trained = target.model.trained_context if target.model is not None else None
    sizes = {size for size in _CONTEXTS if trained is None or size <= trained}
    sizes |= {size for size in (target.context_size, trained) if size}
    found = []
    for size in sorted(sizes):
        options = replace(target.options, context_size=size, parallel=1)
        found.append((size, forecast(engine, replace(target, options=options), rooms)))
    return found
