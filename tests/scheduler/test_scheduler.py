"""The scheduler with real engine children: who gets a runner, who waits, who goes."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from dmrc.errors import BusyError, EngineError, InsufficientMemoryError
from dmrc.scheduler.lease import Lease
from dmrc.scheduler.limits import Limits
from dmrc.scheduler.states import RunnerState
from tests.scheduler.conftest import Workshop, ask, children, hold, play, until, use

pytestmark = pytest.mark.engine


def test_targets_that_differ_in_context_get_a_runner_each_and_equal_ones_share(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        used = await asyncio.gather(
            *(use(scheduler, workshop.target(size)) for size in (256, 512, 256, 512, 256)),
        )

        assert len(set(used)) == 2
        assert [runner.target.context_size for runner in scheduler.runners()] == [256, 512]
        assert len(children()) == 2

    play(scheduler, story)
    assert not children()


def test_with_room_for_one_two_models_take_turns(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(room_for=1.5)

    async def story() -> None:
        for size in (256, 512, 256, 512):
            await use(scheduler, workshop.target(size))

            assert [runner.target.context_size for runner in scheduler.runners()] == [size]
        assert len(children()) == 1

    play(scheduler, story)


def test_a_load_waits_for_a_busy_runner_to_become_idle(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(room_for=1.5)

    async def story() -> None:
        async with scheduler.lease(workshop.target(256)):
            other = asyncio.create_task(use(scheduler, workshop.target(512)))
            await until(lambda: len(scheduler.runners()) == 2, "the second runner waits for room")
            assert len(children()) == 1
        await other

    play(scheduler, story)


def test_a_pinned_runner_stays_and_the_other_is_refused_with_numbers(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(room_for=1.5)

    async def story() -> None:
        await use(scheduler, workshop.target(256, keep_alive_seconds=math.inf))
        began = time.monotonic()

        with pytest.raises(InsufficientMemoryError) as caught:
            await use(scheduler, workshop.target(512))

        assert time.monotonic() - began < 5
        assert "context_size 512 needs " in caught.value.message
        assert "B is free" in caught.value.message
        assert caught.value.remedy is not None
        assert [runner.state for runner in scheduler.runners()] == [RunnerState.READY]

    play(scheduler, story)


def test_what_can_never_fit_is_refused_at_once_and_evicts_nobody(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(room_for=2)

    async def story() -> None:
        await use(scheduler, workshop.target(256))
        async with scheduler.lease(workshop.target(256)):
            began = time.monotonic()
            with pytest.raises(InsufficientMemoryError, match=r"A context_size of \d+ would fit"):
                await use(scheduler, workshop.target(1 << 24))
            assert time.monotonic() - began < 5

        assert [runner.state for runner in scheduler.runners()] == [RunnerState.READY]

    play(scheduler, story)


@pytest.mark.parametrize("seconds", [0, 0.3])
def test_an_idle_runner_goes_after_its_keep_alive(workshop: Workshop, seconds: float) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        await use(scheduler, workshop.target(keep_alive_seconds=seconds))
        await until(lambda: not scheduler.runners(), "the runner goes")
        assert not children()

    play(scheduler, story)


def test_a_runner_in_use_outlives_its_keep_alive(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        async with scheduler.lease(workshop.target(keep_alive_seconds=0)) as lease:
            for _ in range(5):
                assert await ask(lease) == 200
        await until(lambda: not scheduler.runners(), "the runner goes")

    play(scheduler, story)


def test_a_runner_goes_when_the_last_one_in_its_queue_went_away(workshop: Workshop) -> None:
    """The cancelled one had kept the idle time from starting, so the runner would have stayed for ever."""
    scheduler = workshop.scheduler()

    async def story() -> None:
        target, release, got = workshop.target(keep_alive_seconds=0.05), asyncio.Event(), list[Lease]()
        holder = asyncio.create_task(hold(scheduler, target, release, got))
        await until(lambda: bool(got), "the first has its slot")
        waiter = asyncio.create_task(use(scheduler, target))
        await until(lambda: got[0].runner.waiting == 1, "the second waits")
        release.set()
        waiter.cancel()
        await asyncio.gather(holder, waiter, return_exceptions=True)

        await until(lambda: not scheduler.runners(), "the runner goes")

    play(scheduler, story)


def test_a_caller_that_goes_away_does_not_end_the_load(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        caller = asyncio.create_task(use(scheduler, workshop.target()))
        await until(lambda: bool(children()), "the child has started")
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        (runner,) = scheduler.runners()

        await until(lambda: runner.state is RunnerState.READY, "the runner is ready")

        assert runner.waiting == 0
        assert await use(scheduler, workshop.target()) == runner.key

    play(scheduler, story)


def test_beyond_the_queue_limit_a_request_is_refused(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(limits=Limits(queue=2))

    async def story() -> None:
        release, got = asyncio.Event(), list[Lease]()
        first = asyncio.create_task(hold(scheduler, workshop.target(), release, got))
        await until(lambda: bool(got), "the first has its slot")
        waiting = [asyncio.create_task(use(scheduler, workshop.target())) for _ in range(2)]
        await until(lambda: got[0].runner.waiting == 2, "the queue is full")

        with pytest.raises(BusyError, match="2 requests wait") as caught:
            await use(scheduler, workshop.target())

        assert caught.value.retry_after_seconds > 0
        release.set()
        await asyncio.gather(first, *waiting)

    play(scheduler, story)


def test_unload_waits_for_users_and_a_new_request_gets_a_runner_of_its_own(workshop: Workshop) -> None:
    """The old runner must not take the new one's socket away when it goes: both have the same key."""
    scheduler = workshop.scheduler()

    async def story() -> None:
        target = workshop.target()
        async with scheduler.lease(target) as old:
            unload = asyncio.create_task(scheduler.unload(old.runner))
            await until(lambda: old.runner.state is RunnerState.DRAINING, "it drains")
            await use(scheduler, target)
            assert await ask(old) == 200
            assert not unload.done()
            assert len(scheduler.runners()) == 2
        await unload

        assert len(children()) == 1
        await use(scheduler, target)

    play(scheduler, story)


def test_unload_ends_a_load(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        caller = asyncio.create_task(use(scheduler, workshop.target()))
        await until(lambda: bool(children()), "the child has started")

        await scheduler.unload(scheduler.runners()[0])

        with pytest.raises(EngineError, match="unloaded meanwhile"):
            await caller
        assert not children()

    play(scheduler, story)


def test_close_ends_runners_in_any_state_and_refuses_what_comes_after(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        async with scheduler.lease(workshop.target(256)):
            loading = asyncio.create_task(scheduler.load(workshop.target(512)))
            await until(lambda: len(children()) == 2, "the second child has started")

            await scheduler.close()

            assert not children()
            assert not list((workshop.directory / "run").iterdir())
            with pytest.raises(EngineError):
                await loading
        with pytest.raises(EngineError, match="stopping"):
            await use(scheduler, workshop.target())

    play(scheduler, story)


def test_sockets_that_a_killed_daemon_left_are_removed(workshop: Workshop) -> None:
    (workshop.directory / "run").mkdir()
    stale = workshop.directory / "run" / "runner-0123456789ab-7.sock"
    stale.touch()

    workshop.scheduler()

    assert not stale.exists()


def test_a_changed_keep_alive_counts_without_a_new_runner(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        runner = await scheduler.load(workshop.target(keep_alive_seconds=math.inf))
        assert runner.expires_at is None

        assert await scheduler.load(workshop.target(keep_alive_seconds=0.1)) is runner

        await until(lambda: not scheduler.runners(), "the runner goes")

    play(scheduler, story)
