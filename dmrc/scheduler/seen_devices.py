"""What engines said of the graphics cards of this machine when they were last asked, before a load."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from dmrc.engines.devices import Device
from dmrc.engines.engine import Engine
from dmrc.project import ServingOptions


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer."""

    devices: tuple[Device, ...]
    """With what was free in that moment."""
    at: float
    """Unix seconds."""


class SeenDevices:
    """Asks engines, and keeps their last answers for who only shows them: to ask takes a child. For one event loop."""

    def __init__(self) -> None:
        """Have asked nobody yet."""
        self._last: dict[str, Seen] = {}

    @property
    def last(self) -> Mapping[str, Seen]:
        """Return the last answer of each engine, by its name."""
        return self._last

    async def ask(self, engine: Engine, options: ServingOptions) -> tuple[Device, ...]:
        """Ask which devices an engine can use for such options, and what is free now: some tenths of a second."""
        devices = tuple(await engine.devices(options))
        self._last[engine.name] = Seen(devices, time.time())
        return devices
