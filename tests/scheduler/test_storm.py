"""Does anybody wait for ever? Storms of everything that can happen to runners, on children that start in no time."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from dmrc.engines.engine import Launch
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.errors import DmrcError
from dmrc.scheduler.limits import Limits
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.target import Target
from tests.scheduler.conftest import Workshop, play, until

pytestmark = pytest.mark.engine

_CHILD = Path(__file__).with_name("quick_child.py")
_SECONDS = 2.0
_CHANGE_SECONDS = 0.4
_PATIENCE_SECONDS = 20.0


class QuickEngine(LlamaCpp):
    """Starts children that answer after a moment, or never."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(None)
        self._chance = chance

    def command(self, launch: Launch) -> list[str]:
        story = self._chance.choices(["ready", "slow", "dies"], [8, 3, 1])[0]
        return [sys.executable, "-I", "-S", str(_CHILD), str(launch.socket), story]


@dataclass
class Storm:
    """Callers of all kinds, and what happens to their runners."""

    scheduler: Scheduler
    workshop: Workshop
    chance: random.Random
    ends: float
    outcomes: Counter[str]

    async def caller(self) -> None:
        """Ask again and again; one caller in three goes away at some moment, the others must hear something."""
        while time.monotonic() < self.ends:
            patience = self.chance.choice((self.chance.random() * 0.08, _PATIENCE_SECONDS, _PATIENCE_SECONDS))
            target = self._target()
            try:
                async with asyncio.timeout(patience):
                    await self._ask(target)
                self.outcomes["served"] += 1
            except TimeoutError:
                assert patience < _PATIENCE_SECONDS, "a caller heard nothing"
                self.outcomes["gone"] += 1
            except DmrcError as error:
                self.outcomes[type(error).__name__] += 1
                await asyncio.sleep(0.01)

    def _target(self) -> Target:
        """Return one of three; they are others after a while, so that few of them rest after they died too often."""
        first = 256 + 3 * int((self.ends - time.monotonic()) / _CHANGE_SECONDS)
        context, parallel = self.chance.choice(((first, 1), (first + 1, 2), (first + 2, 2)))
        keep_alive_seconds = self.chance.choice((0, 0.02, 300))
        return self.workshop.target(context, parallel=parallel, keep_alive_seconds=keep_alive_seconds)

    async def _ask(self, target: Target) -> None:
        if self.chance.random() < 0.1:
            await self.scheduler.load(target)
            return
        wish = self.chance.choice((None, None, 0, 0.01))
        async with self.scheduler.lease(target, wish):
            await asyncio.sleep(self.chance.choice((0, 0, 0.005, 0.03)))

    async def weather(self) -> None:
        """Kill runners and unload them, as a crash, a changed configuration or a user does."""
        while time.monotonic() < self.ends:
            await asyncio.sleep(self.chance.random() * 0.2)
            runners = self.scheduler.runners()
            if runners:
                runner = self.chance.choice(runners)
                if self.chance.random() < 0.5:
                    self.scheduler.release({runner.key})
                else:
                    _kill(runner)


def _kill(runner: ManagedRunner) -> None:
    if runner.process is not None and runner.process.exit_code is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(runner.process.pid).send_signal(signal.SIGKILL)


@pytest.mark.parametrize("seed", range(3))
def test_nobody_waits_for_ever(workshop: Workshop, seed: int) -> None:
    chance = random.Random(seed)
    limits = Limits(window_seconds=0.05, longest_window_seconds=0.1, linger_seconds=0.002, queue=6)
    scheduler = workshop.scheduler(room_for=2.1, limits=limits, engine=QuickEngine(chance))
    storm = Storm(scheduler, workshop, chance, time.monotonic() + _SECONDS, Counter())

    async def story() -> None:
        await asyncio.gather(storm.weather(), *(storm.caller() for _ in range(10)))

        assert storm.outcomes["served"] > 0
        # The slot of a caller who hung up is free when its engine works no longer for it, a moment later.
        await until(
            lambda: all((runner.in_use, runner.waiting) == (0, 0) for runner in scheduler.runners()), "all is free"
        )

    play(scheduler, story)
