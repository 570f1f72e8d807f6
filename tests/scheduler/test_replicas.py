"""A runner with replicas: its slots follow them, and it does not die with one of them."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import psutil
import pytest

from dmrc.errors import BusyError, NotFoundError
from dmrc.scheduler.lease import Lease
from dmrc.scheduler.limits import Limits
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.states import RunnerState
from dmrc.scheduler.target import Target
from tests.engines.toy_bridge import ToyBridge, told
from tests.scheduler.conftest import Workshop, hold, play, until

pytestmark = pytest.mark.process


def target_of(workshop: Workshop) -> Target:
    target = workshop.target()
    return replace(target, options=replace(target.options, parallel=None))


async def tell(runner: ManagedRunner, document: Mapping[str, Any]) -> None:
    """Have the child tell this of its replicas."""
    assert runner.session is not None
    with closing(
        await runner.session.post("/told", {"content-type": "application/json"}, json.dumps(document).encode())
    ):
        pass


async def chat(lease: Lease, **more: object) -> Sequence[bytes]:
    body = json.dumps({"messages": [], "stream": True, **more}).encode()
    answer = await lease.session.post("/v1/chat/completions", {"content-type": "application/json"}, body)
    with closing(answer):
        return [chunk async for chunk in answer]


def test_slots_grow_and_shrink_with_the_replicas_and_who_waits_is_served_at_once(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmrc.scheduler.following._PAUSE_SECONDS", 60.0)
    scheduler = workshop.scheduler(engine=ToyBridge())
    target = target_of(workshop)

    async def story() -> None:
        release, got = asyncio.Event(), list[Lease]()
        users = [asyncio.create_task(hold(scheduler, target, release, got)) for _ in range(5)]
        await until(lambda: len(got) == 1, "the first has the one slot")
        runner = got[0].runner
        assert (runner.parallel, runner.in_use, runner.waiting) == (1, 1, 4)

        began = time.monotonic()
        await tell(runner, told("r1", "r2", slots=4))
        await until(lambda: len(got) == 4, "the queue is served when it grows")
        assert time.monotonic() - began < 30
        assert [(one.name, one.node, one.slots) for one in runner.replicas.now()] == [
            ("r1", "box-r1", 2),
            ("r2", "box-r2", 2),
        ]

        await tell(runner, told("r1", slots=1))
        await until(lambda: runner.parallel == 1, "it shrinks")
        assert not runner.has_free_slot
        assert (runner.in_use, runner.waiting) == (4, 1)

        await tell(runner, told(slots=0))
        await until(lambda: runner.parallel == 0, "none is left")
        release.set()
        await asyncio.gather(*users[:4])
        assert len(got) == 4
        await tell(runner, told("r3", slots=1))
        await users[4]
        assert scheduler.runners() == [runner]

    play(scheduler, story)


def test_who_comes_to_a_full_queue_is_told_to_wait_as_long_as_the_replicas_need(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(engine=ToyBridge(), limits=Limits(queue=8))
    target = target_of(workshop)

    async def story() -> None:
        async def waits(slots: int) -> int:
            release, got = asyncio.Event(), list[Lease]()
            async with scheduler.lease(target) as lease:
                runner = lease.runner
                await tell(runner, told("r1", slots=slots) if slots else told(slots=0))
                await until(lambda: runner.parallel == slots, "it has so many slots")
                runner.queue.took(5.0)
                users = [
                    asyncio.create_task(hold(scheduler, target, release, got)) for _ in range(8 + max(0, slots - 1))
                ]
                await until(lambda: runner.waiting == 8, "the queue is full")
                with pytest.raises(BusyError) as caught:
                    async with scheduler.lease(target):
                        pass
            release.set()
            await tell(runner, told("r1", slots=8))
            await asyncio.gather(*users)
            return caught.value.retry_after_seconds or 0

        one, four = await waits(1), await waits(4)
        assert one > 2 * four > 0
        assert await waits(0) >= four

    play(scheduler, story)


def test_a_replica_that_dies_ends_no_runner_and_raises_no_pause(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut stream had the child asked for its health; without replicas it is sick, and lives all the same."""
    monkeypatch.setattr("dmrc.scheduler.runner._DEATH_SECONDS", 60.0)
    scheduler = workshop.scheduler(engine=ToyBridge())
    target = target_of(workshop)

    async def story() -> None:
        for is_sick in (False, True):
            async with scheduler.lease(target) as lease:
                runner = lease.runner
                await tell(runner, {**told(slots=1), "is_sick": is_sick})
                began = time.monotonic()
            with pytest.raises(ConnectionError, match="in the middle of an answer"):
                async with scheduler.lease(target) as lease:
                    await chat(lease, cut=1)
            assert time.monotonic() - began < 30, "it waited for an end"
        assert (runner.state, runner.failure) == (RunnerState.READY, None)
        assert not scheduler.backoff.latest
        async with scheduler.lease(target) as lease:
            assert lease.runner is runner
            assert b"[DONE]" in b"".join(await chat(lease))

    play(scheduler, story)


def test_its_own_death_is_noticed_and_the_next_request_has_another_runner(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(engine=ToyBridge())
    target = target_of(workshop)

    async def story() -> None:
        with pytest.raises(ConnectionError):
            async with scheduler.lease(target) as first:
                assert first.runner.process is not None
                psutil.Process(first.runner.process.pid).kill()
                await chat(first)
        async with scheduler.lease(target) as second:
            assert second.runner is not first.runner
            assert b"[DONE]" in b"".join(await chat(second))
        assert [end.reference for end in scheduler.backoff.latest] == [target.reference]

    play(scheduler, story)


def test_it_ends_at_once_although_its_list_of_replicas_has_no_end(workshop: Workshop) -> None:
    """uvicorn waits for the answers that it still gives."""
    scheduler = workshop.scheduler(engine=ToyBridge())

    async def story() -> None:
        async with scheduler.lease(target_of(workshop)) as lease:
            runner = lease.runner
        await scheduler.unload(runner)
        assert runner.process is not None
        assert runner.process.exit_code == -signal.SIGTERM, "it had to be killed"

    play(scheduler, story)


def test_the_log_of_a_replica_is_asked_of_the_child(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(engine=ToyBridge())

    async def story() -> None:
        async with scheduler.lease(target_of(workshop)) as lease:
            assert lease.runner.replicas is not None
            assert await lease.runner.replicas.log("r1", 2) == "r1: line 0\nr1: line 1\n"
            with pytest.raises(NotFoundError, match="no replica 'r9'"):
                await lease.runner.replicas.log("r9", 2)

    play(scheduler, story)
