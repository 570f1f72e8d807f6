"""What engines say of their cards: asked anew for each load."""

from __future__ import annotations

import time

from dmrc.engines.engine import Engine
from dmrc.project import ServingOptions
from dmrc.scheduler.room import Reading
from dmrc.scheduler.runners import Runners
from dmrc.scheduler.seen_devices import SeenDevices

_FRESH_SECONDS = 1.0


class DeviceReadings:
    """Asks engines. For one event loop."""

    def __init__(self, runners: Runners, seen: SeenDevices) -> None:
        """Ask by `seen`, and again where one of the `runners` came or went meanwhile."""
        self._runners = runners
        self._seen = seen
        self._last: dict[tuple[str, str | None, bool], tuple[int, Reading]] = {}

    async def of(self, engine: Engine, options: ServingOptions, not_before: float) -> Reading:
        """Return what an engine says of a model's cards, asked since `not_before`, and at most a second ago.

        Both are times on the monotonic clock.

        The memory of a runner that ended while the driver was asked may be in the answer or not, and nobody holds it
        any more: then it is asked again. Who waits for memory looks at each change, so a reading serves for a second.
        """
        asked = engine.name, options.image, engine.device_wish(options).names == ()
        while True:
            turn, now = self._runners.turn, time.monotonic()
            last = self._last.get(asked)
            if last is not None and last[0] == turn and last[1].asked_at >= max(not_before, now - _FRESH_SECONDS):
                return last[1]
            reading = Reading(await self._seen.ask(engine, options), now)
            if self._runners.turn == turn or not reading.devices:
                self._last[asked] = turn, reading
                return reading
