"""When engines are asked for their cards: for each load, again when a runner came or went, and not for each look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import cast

from dmrc.engines.devices import Device
from dmrc.engines.engine import Engine
from dmrc.engines.plain_engine import PlainEngine
from dmrc.project import ServingOptions
from dmrc.scheduler.readings import DeviceReadings
from dmrc.scheduler.runners import Runners
from dmrc.scheduler.seen_devices import SeenDevices


class Asked(PlainEngine):
    """Has a card with one byte more free each time, and lets something happen while it is asked."""

    name = "asked"

    def __init__(self, meanwhile: Callable[[int], None] = lambda _: None) -> None:
        self.times = 0
        self._meanwhile = meanwhile

    async def devices(self, options: ServingOptions) -> Sequence[Device]:
        self.times += 1
        self._meanwhile(self.times)
        await asyncio.sleep(0)
        return (Device("CUDA0", "a card", 1000, self.times),)


def free(engine: Asked, runners: Runners, not_before: Sequence[float]) -> list[int]:
    """Return what is read to be free by loads that began then, one after another."""

    async def story() -> list[int]:
        readings = DeviceReadings(runners, SeenDevices())
        return [
            (await readings.of(cast(Engine, engine), ServingOptions(), since)).devices[0].free_bytes
            for since in not_before
        ]

    return asyncio.run(story())


def test_each_load_asks_anew_and_one_that_waits_does_not_ask_at_every_look() -> None:
    past, future = time.monotonic(), time.monotonic() + 60

    assert free(Asked(), Runners(), [past, past, past]) == [1, 1, 1]
    assert free(Asked(), Runners(), [past, future, future]) == [1, 2, 3]


def test_each_image_is_asked_and_not_for_a_model_that_may_use_no_card_what_it_says_for_others() -> None:
    engine = Asked()
    options = [
        ServingOptions(image=image, device=device)
        for image, device in (("a", None), ("b", None), ("a", "CUDA0"), ("a", "cpu"), ("b", None))
    ]

    async def story() -> list[int]:
        readings, past = DeviceReadings(Runners(), SeenDevices()), time.monotonic()
        return [(await readings.of(cast(Engine, engine), one, past)).devices[0].free_bytes for one in options]

    assert asyncio.run(story()) == [1, 2, 1, 3, 2]


def test_it_is_asked_again_where_a_runner_came_or_went_meanwhile() -> None:
    """What the driver said may be with its memory or without it, and nobody holds it any more."""
    runners = Runners()

    def ends(times: int) -> None:
        if times == 1:
            runners.turn += 1

    assert free(Asked(ends), runners, [0.0]) == [2]


def test_what_was_read_before_a_runner_ended_serves_nobody_after_it() -> None:
    runners, engine = Runners(), Asked()

    async def story() -> None:
        readings, past = DeviceReadings(runners, SeenDevices()), time.monotonic()
        await readings.of(cast(Engine, engine), ServingOptions(), past)
        runners.turn += 1
        await readings.of(cast(Engine, engine), ServingOptions(), past)

    asyncio.run(story())

    assert engine.times == 2
