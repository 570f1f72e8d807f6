"""A caller who hangs up while the engine reads a prompt: the slot is in use until the engine has let go of it."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from dmrc.engines.llama_cpp.counts import counts
from dmrc.scheduler.lease import Lease
from tests.scheduler.conftest import Workshop, play, until, use
from tests.synthetic_gguf import Shape, write_model

pytestmark = pytest.mark.engine

PROMPT = [100 + number % 300 for number in range(6000)]
SLOW = Shape(width=1024, blocks=6, heads=16, heads_kv=4, inner=2048, context_length=8192)
"""One to two seconds of a processor for 512 tokens, which are a batch."""


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("slow") / "slow.gguf", SLOW)


async def read_prompt(lease: Lease, prompt: list[int] = PROMPT) -> None:
    body = json.dumps({"prompt": prompt, "max_tokens": 1}).encode()
    with closing(await lease.session.post("/v1/completions", {"content-type": "application/json"}, body)) as answer:
        assert [chunk async for chunk in answer]


def processor_seconds(lease: Lease) -> float:
    assert lease.runner.process is not None
    times = psutil.Process(lease.runner.process.pid).cpu_times()
    return times.user + times.system


def test_the_engine_ends_after_its_batch_and_until_then_the_slot_is_in_use(workshop: Workshop, slow: Path) -> None:
    scheduler = workshop.scheduler()
    target = workshop.target(8192, gguf=slow)
    got: list[Lease] = []

    async def hang_up() -> None:
        async with scheduler.lease(target) as lease:
            got.append(lease)
            await read_prompt(lease)

    async def story() -> None:
        async with scheduler.lease(target) as lease:
            before = processor_seconds(lease)
            await read_prompt(lease, PROMPT[:512])
            batch = processor_seconds(lease) - before
        before = processor_seconds(lease)
        caller = asyncio.create_task(hang_up())
        await until(lambda: bool(got) and processor_seconds(got[0]) > before + 0.2 * batch, "the prompt is being read")
        runner = got[0].runner

        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)

        assert runner.in_use == 1
        await use(scheduler, target)  # waits until the slot is free, and is served then
        told = await counts(runner.session)
        assert told is not None
        assert (told.processing, runner.in_use) == (0, 0)
        # The engine looks once a second whether the caller is there, which is two batches of twelve, or three.
        assert processor_seconds(got[0]) - before < 9 * batch

    play(scheduler, story)


def test_callers_who_hang_up_one_after_another_do_not_keep_the_engine_from_noticing(
    workshop: Workshop, slow: Path
) -> None:
    """It looks after a second without an answer: two who asked in turn, or a `ps` now and then, left it none."""
    scheduler = workshop.scheduler()
    target = workshop.target(4096, gguf=slow, parallel=2)
    got: list[Lease] = []

    async def hang_up() -> None:
        async with scheduler.lease(target) as lease:
            got.append(lease)
            body = json.dumps({"prompt": PROMPT[:8], "max_tokens": 4000, "ignore_eos": True}).encode()
            await lease.session.post("/v1/completions", {"content-type": "application/json"}, body)

    async def story() -> None:
        callers = [asyncio.create_task(hang_up()) for _ in range(2)]
        await until(lambda: len(got) == 2, "both have a slot")
        runner = got[0].runner
        await asyncio.sleep(0.5)

        began = time.monotonic()
        for caller in callers:
            caller.cancel()
            await asyncio.sleep(0.8)
        while runner.in_use and time.monotonic() - began < 20:
            await asyncio.sleep(0.3)
            await runner.hang_ups.counts()

        assert runner.in_use == 0

    play(scheduler, story)


def test_a_runner_that_is_ended_meanwhile_leaves_nothing_behind(workshop: Workshop, slow: Path) -> None:
    scheduler = workshop.scheduler()
    target = workshop.target(8192, gguf=slow)
    got: list[Lease] = []

    async def hang_up() -> None:
        async with scheduler.lease(target) as lease:
            got.append(lease)
            await read_prompt(lease)

    async def story() -> None:
        caller = asyncio.create_task(hang_up())
        await until(lambda: bool(got), "it has a slot")
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        assert got[0].runner.process is not None
        psutil.Process(got[0].runner.process.pid).kill()

        await until(lambda: got[0].runner not in scheduler.runners(), "it is gone")
        assert await use(scheduler, target) == got[0].runner.key

    play(scheduler, story)
