"""The memory of runners that are to start: reserved as soon as `eviction` allows it, and until then waited for."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from dmrc.engines.cards import cards, in_words, worth_using
from dmrc.errors import DmrcError
from dmrc.scheduler.eviction import Eviction
from dmrc.scheduler.limits import Limits
from dmrc.scheduler.readings import DeviceReadings
from dmrc.scheduler.room import Reading
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.runners import Runners
from dmrc.scheduler.seen_devices import SeenDevices
from dmrc.scheduler.states import RunnerState
from dmrc.scheduler.target import Target

_log = logging.getLogger(__name__)


class Reservations:
    """Carries out what `Eviction` plans. For one event loop."""

    def __init__(
        self,
        eviction: Eviction,
        runners: Runners,
        limits: Limits,
        give_way: Callable[[ManagedRunner], None],
        load: Callable[[Target], Awaitable[ManagedRunner]],
        devices: SeenDevices,
    ) -> None:
        """Let others end by `give_way`, and those that only give memory back start anew by `load`.

        `devices` asks engines for their cards.
        """
        self._eviction = eviction
        self._runners = runners
        self._limits = limits
        self._give_way = give_way
        self._load = load
        self._readings = DeviceReadings(runners, devices)

    async def reserve(self, runner: ManagedRunner) -> None:
        """Wait until a runner has its memory; it is STARTING then.

        Raises:
            InsufficientMemoryError: It can never fit beside the pinned ones.
            BusyError: It has waited too long.
            InputError, UnsupportedError: It asks for a card that is not there.
        """
        while True:
            # The decision itself does not await: two loads never both get what the driver calls free.
            reading = await self._readings.of(runner.engine, runner.target.options, runner.waits_since)
            others = [other for other in self._runners.alive() if other is not runner]
            plan = self._eviction.plan(runner, others, reading)
            for giver in plan.givers:
                giver.gives_back = True
                self._runners.spawn(self._give_back(giver))
            if plan.need is not None:
                runner.need, runner.claim, runner.state = plan.need, None, RunnerState.STARTING
                runner.unused_cards = _unused_cards(runner, reading)
                if (notice := runner.notice) is not None:
                    _log.warning("%s", notice)
                return
            runner.claim = plan.claim or runner.claim
            for victim in plan.victims:
                _log.info("runner %s gives way to %s", victim.target.reference, runner.target.reference)
                victim.stop_reason = "evicted"
                self._give_way(victim)
            await self._runners.change(plan.wait_seconds)

    async def _give_back(self, runner: ManagedRunner) -> None:
        """Start a runner anew, with a smaller prompt cache, when it is idle or its window is over."""
        until = time.monotonic() + self._limits.window_seconds
        while runner.state is RunnerState.READY and not runner.is_idle and (left := until - time.monotonic()) > 0:
            await self._runners.change(left)
        if runner.state is not RunnerState.READY:
            return
        _log.info("runner %s starts anew with a smaller prompt cache", runner.target.reference)
        runner.stop_reason = "evicted"
        self._give_way(runner)
        try:
            await self._load(runner.target)
        except DmrcError as error:  # the next request tries again, and tells its caller
            _log.warning("runner %s did not start anew: %s", runner.target.reference, error)


def _unused_cards(runner: ManagedRunner, reading: Reading) -> str | None:
    """Return the cards of this machine in words, where a runner's engine lists none and the project does not mind."""
    if reading.devices or not runner.engine.lists_devices:
        return None
    if runner.engine.device_wish(runner.target.options).names == ():
        return None
    return in_words(worth_using(cards())) or None
