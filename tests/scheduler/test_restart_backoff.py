"""Runners that die and starts that fail: who is told, and when the next one begins."""

from __future__ import annotations

import asyncio
import gc

import pytest

from dmrc.errors import BusyError, EngineStartError
from dmrc.scheduler.lease import Lease
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.states import RunnerState
from dmrc.scheduler.target import Target
from tests.scheduler.conftest import Workshop, ask, children, hold, play, until, use

pytestmark = pytest.mark.engine


def test_a_killed_child_is_started_again_by_the_next_request(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        await use(scheduler, workshop.target())
        (child,) = children()
        child.kill()
        await until(lambda: not scheduler.runners(), "the death is noticed")

        await use(scheduler, workshop.target())

        assert children() != [child]

    play(scheduler, story)


def test_who_waits_in_the_queue_of_a_runner_that_dies_gets_the_next_one(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        release, got = asyncio.Event(), list[Lease]()
        holder = asyncio.create_task(hold(scheduler, workshop.target(), release, got))
        await until(lambda: bool(got), "the first has its slot")
        waiter = asyncio.create_task(use(scheduler, workshop.target()))
        await until(lambda: got[0].runner.waiting == 1, "the second waits")
        children()[0].kill()
        await until(lambda: got[0].runner.state is RunnerState.FAILED, "the death is noticed")
        release.set()

        await asyncio.gather(holder, waiter)

        assert len(children()) == 1

    play(scheduler, story)


def test_a_death_costs_the_request_in_flight_and_none_of_those_that_wait(workshop: Workshop) -> None:
    """Its connection breaks before its end is known: each one in the queue would be sent to the dead runner."""
    scheduler = workshop.scheduler()

    async def story() -> None:
        async def in_flight() -> None:
            async with scheduler.lease(workshop.target(4096)) as lease:
                await ask(lease, tokens=4000)

        first = asyncio.create_task(in_flight())
        await until(lambda: any(runner.in_use for runner in scheduler.runners()), "the first has its slot")
        waiting = [asyncio.create_task(use(scheduler, workshop.target(4096))) for _ in range(20)]
        await until(lambda: scheduler.runners()[0].waiting == 20, "the others wait")
        children()[0].kill()

        with pytest.raises(ConnectionError):
            await first
        assert len(set(await asyncio.gather(*waiting))) == 1

    play(scheduler, story)


async def crash(scheduler: Scheduler, target: Target) -> None:
    """Ask, and have the engine die of it."""

    async def ask_for_long() -> None:
        async with scheduler.lease(target) as lease:
            children()[0].kill()
            await ask(lease, tokens=200)

    with pytest.raises(ConnectionError):
        await ask_for_long()
    await until(
        lambda: not any(each.state is RunnerState.READY for each in scheduler.runners()), "the death is noticed"
    )


def test_a_runner_that_keeps_dying_has_to_rest(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        for _ in range(2):
            await crash(scheduler, workshop.target())

        with pytest.raises(BusyError, match=r"died \(exit code -9.*\) \(2 times in a row\)") as caught:
            await use(scheduler, workshop.target())

        assert caught.value.retry_after_seconds == 1

    play(scheduler, story)


def test_deaths_with_an_answer_between_them_are_no_row(workshop: Workshop) -> None:
    """One client's request that crashes the engine locked all others out, for half a minute at a time."""
    scheduler = workshop.scheduler()

    async def story() -> None:
        for _ in range(4):
            await crash(scheduler, workshop.target())
            await use(scheduler, workshop.target())  # raises where they are told to rest
        assert len(scheduler.backoff.latest) == 4

    play(scheduler, story)


def test_a_queue_that_has_not_reached_the_engine_waits_through_the_pause(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        await crash(scheduler, workshop.target())
        release, got = asyncio.Event(), list[Lease]()
        holder = asyncio.create_task(hold(scheduler, workshop.target(), release, got))
        await until(lambda: bool(got), "the first has its slot")
        waiting = [asyncio.create_task(use(scheduler, workshop.target())) for _ in range(5)]
        await until(lambda: got[0].runner.waiting == 5, "the others wait")

        children()[0].kill()
        await until(lambda: got[0].runner.state is RunnerState.FAILED, "the death is noticed")
        release.set()

        assert len(set(await asyncio.gather(*waiting))) == 1
        await holder

    play(scheduler, story)


def test_what_waits_for_a_load_that_is_unloaded_may_come_again(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        caller = asyncio.create_task(use(scheduler, workshop.target()))
        await until(lambda: bool(scheduler.runners()), "the load has begun")
        await scheduler.unload(scheduler.runners()[0])

        with pytest.raises(BusyError, match="was unloaded meanwhile") as caught:
            await caller

        assert (caught.value.http_status, caught.value.retry_after_seconds) == (503, 1)

    play(scheduler, story)


def test_a_watch_that_fails_leaves_no_runner_that_looks_ready(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk at the rotation of a log ended the watch; when the child died later, requests waited for ever."""
    scheduler = workshop.scheduler()
    monkeypatch.setattr("dmrc.scheduler.supervision.LOOK_SECONDS", 0.05)

    async def story() -> None:
        await use(scheduler, workshop.target())
        (runner,), (child,) = scheduler.runners(), children()
        with monkeypatch.context() as patch:
            patch.setattr("psutil.Process.cpu_times", _no_space)
            await until(lambda: not scheduler.runners(), "the runner is ended")

        assert runner.state is RunnerState.FAILED
        await until(lambda: not child.is_running(), "the child is gone")
        await use(scheduler, workshop.target())

    play(scheduler, story)

    assert "work on the runners failed" in caplog.text


def _no_space(*_arguments: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_start_that_fails_is_told_to_everyone_who_waits(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()
    broken = workshop.directory / "broken.gguf"
    broken.write_bytes(b"no model at all")

    async def story() -> None:
        target = workshop.target(gguf=broken)

        errors = await asyncio.gather(*(use(scheduler, target) for _ in range(5)), return_exceptions=True)

        assert all(isinstance(error, EngineStartError) and "not GGUF" in str(error) for error in errors)
        assert not scheduler.runners()
        with pytest.raises(EngineStartError, match="not GGUF"):
            await scheduler.load(target)

    play(scheduler, story)


def test_a_start_that_fails_after_its_callers_went_away_is_no_unseen_error(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = workshop.scheduler()
    broken = workshop.directory / "broken.gguf"
    broken.write_bytes(b"no model at all")

    async def story() -> None:
        caller = asyncio.create_task(use(scheduler, workshop.target(gguf=broken)))
        await until(lambda: bool(scheduler.runners()), "the load has begun")
        caller.cancel()
        await until(lambda: not scheduler.runners(), "the load has failed")

    play(scheduler, story)

    gc.collect()  # then asyncio tells of errors that nobody has looked at
    assert "did not start" in caplog.text
    assert "never retrieved" not in caplog.text
