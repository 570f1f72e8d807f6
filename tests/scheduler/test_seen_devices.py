"""What engines said of graphics cards is kept for who only shows it."""

import asyncio
import time
from collections.abc import Sequence

from dmrc.engines.devices import Device
from dmrc.engines.plain_engine import PlainEngine
from dmrc.project import ServingOptions
from dmrc.scheduler.seen_devices import SeenDevices


class _Filling(PlainEngine):
    """An engine of whose card a byte less is free each time."""

    name = "filling"

    def __init__(self) -> None:
        self.free = 9

    async def devices(self, options: ServingOptions) -> Sequence[Device]:
        self.free -= 1
        return [Device("CUDA0", "a card", 9, self.free)]


def test_each_ask_is_a_new_one_and_the_last_is_kept_with_its_time() -> None:
    seen, engine = SeenDevices(), _Filling()
    assert dict(seen.last) == {}

    first, second = asyncio.run(seen.ask(engine, ServingOptions())), asyncio.run(seen.ask(engine, ServingOptions()))  # type: ignore[arg-type]

    assert [device.free_bytes for device in (*first, *second)] == [8, 7]
    assert seen.last["filling"].devices == second
    assert 0 <= time.time() - seen.last["filling"].at < 60
