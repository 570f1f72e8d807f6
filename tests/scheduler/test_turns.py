"""Two models and memory for one: whose turn it is, and who keeps a place meanwhile."""

from __future__ import annotations

import asyncio
import math

import psutil
import pytest

from dmrc.errors import BusyError
from dmrc.scheduler.lease import Lease
from dmrc.scheduler.limits import Limits
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.states import RunnerState
from dmrc.scheduler.target import Target
from tests.scheduler.conftest import Workshop, ask, hold, play, until, use

pytestmark = pytest.mark.engine


def loads(caplog: pytest.LogCaptureFixture) -> int:
    return sum("is ready after" in record.getMessage() for record in caplog.records)


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "dmrc.scheduler")


def test_eight_clients_that_alternate_share_the_loads(workshop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    """Those who want the model that is not there gather while the other one serves the rest."""
    scheduler = workshop.scheduler(room_for=1.5, limits=Limits(window_seconds=1))

    async def client(number: int) -> None:
        for turn in range(8):
            await use(scheduler, workshop.target((256, 512)[(number + turn) % 2], parallel=2))

    async def story() -> None:
        await asyncio.gather(*(client(number) for number in range(8)))

        assert loads(caplog) <= 64 / 4

    play(scheduler, story)


def test_two_clients_with_a_model_each_do_not_load_for_each_request(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    """Between two requests of one client its model is idle for a moment, and the other one waits for that."""
    scheduler = workshop.scheduler(room_for=1.5, limits=Limits(window_seconds=60, linger_seconds=1))

    async def client(size: int) -> None:
        for _ in range(20):
            await use(scheduler, workshop.target(size))

    async def story() -> None:
        await asyncio.gather(client(256), client(512))

        assert loads(caplog) == 2

    play(scheduler, story)


def test_a_busy_model_gives_way_after_its_window_and_its_queue_goes_on_afterwards(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(room_for=1.5, limits=Limits(window_seconds=0.2))

    async def story() -> None:
        done = asyncio.Event()
        served = []

        async def greedy() -> None:
            while not done.is_set():
                served.append(await use(scheduler, workshop.target(256)))

        crowd = [asyncio.create_task(greedy()) for _ in range(4)]
        await until(lambda: len(served) > 8, "the resident serves its crowd")

        async with scheduler.lease(workshop.target(512)) as lease:
            assert await ask(lease) == 200
        before = len(served)
        await until(lambda: len(served) > before + 8, "the crowd is served again")

        done.set()
        await asyncio.gather(*crowd)

    play(scheduler, story)


def test_those_who_wait_keep_their_order_over_a_change_of_models(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(room_for=1.5, limits=Limits(window_seconds=0))
    order: list[int] = []

    async def ask_in_turn(number: int, target: Target) -> None:
        async with scheduler.lease(target) as lease:
            order.append(number)
            assert await ask(lease) == 200

    async def story() -> None:
        release, got = asyncio.Event(), list[Lease]()
        first = asyncio.create_task(hold(scheduler, workshop.target(256), release, got))
        await until(lambda: bool(got), "the first has its slot")
        crowd = [asyncio.create_task(ask_in_turn(number, workshop.target(256))) for number in range(12)]
        other = asyncio.create_task(ask_in_turn(100, workshop.target(512)))
        await until(lambda: got[0].runner.state is RunnerState.DRAINING, "the resident gives way")
        release.set()

        await asyncio.gather(first, other, *crowd)

        assert order == [100, *range(12)]

    play(scheduler, story)


def test_nobody_gives_way_to_a_caller_who_has_gone(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(room_for=1.5)

    async def story() -> None:
        async with scheduler.lease(workshop.target(256)) as held:
            caller = asyncio.create_task(use(scheduler, workshop.target(512)))
            await until(lambda: len(scheduler.runners()) == 2, "the other waits for memory")
            assert scheduler.runners()[1].state is RunnerState.WAITING
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)

            await until(lambda: scheduler.runners() == [held.runner], "it is forgotten")
        await asyncio.sleep(0)
        assert held.runner.state is RunnerState.READY

    play(scheduler, story)


def test_a_small_model_takes_what_is_free_while_a_large_one_waits(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(room_for=2.5)

    async def story() -> None:
        async with scheduler.lease(workshop.target(256)):
            large = asyncio.create_task(use(scheduler, workshop.target(2048, parallel=64)))
            await until(lambda: len(scheduler.runners()) == 2, "the large one waits for memory")
            assert scheduler.runners()[1].state is RunnerState.WAITING

            await use(scheduler, workshop.target(512))

            assert not large.done()
        await large

    play(scheduler, story)


def test_memory_that_does_not_become_free_in_time_is_refused_with_the_numbers(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(room_for=1.5, limits=Limits(room_seconds=0.3))

    async def story() -> None:
        async with scheduler.lease(workshop.target(256)):
            with pytest.raises(BusyError, match=r"needs \d+\.\d\d MB .* were busy for 0 s") as caught:
                await use(scheduler, workshop.target(512))
        assert caught.value.retry_after_seconds > 0

    play(scheduler, story)


def test_a_request_says_how_long_the_model_stays_and_the_last_one_wins(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        target = workshop.target(keep_alive_seconds=300, parallel=2)
        async with scheduler.lease(target, 0.05) as lease:
            async with scheduler.lease(target, math.inf):
                pass
            assert lease.runner.keep_alive_seconds == math.inf
        assert (lease.runner.expires_at, lease.runner.is_pinned) == (None, False)
        async with scheduler.lease(target):
            pass
        assert lease.runner.keep_alive_seconds == 300

        async with scheduler.lease(target, 0.05):
            pass

        await until(lambda: not scheduler.runners(), "the runner goes")

    play(scheduler, story)


def test_a_request_that_keeps_a_model_for_ever_keeps_no_memory_from_others(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(room_for=1.5)

    async def story() -> None:
        async with scheduler.lease(workshop.target(256), math.inf):
            pass

        await use(scheduler, workshop.target(512))

        assert [runner.target.context_size for runner in scheduler.runners()] == [512]

    play(scheduler, story)


def test_an_engine_that_does_not_start_is_not_started_for_each_request(
    workshop: Workshop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmrc.scheduler.restart_backoff._PAUSES_SECONDS", (0, 30))  # a slow machine is slower than 1 s
    scheduler: Scheduler = workshop.scheduler()
    broken = workshop.directory / "broken.gguf"
    broken.write_bytes(b"no model at all")

    async def story() -> None:
        errors = []
        for _ in range(20):
            errors += await asyncio.gather(use(scheduler, workshop.target(gguf=broken)), return_exceptions=True)

        assert sum("did not start" in record.getMessage() for record in caplog.records) == 2
        assert all("not GGUF" in str(error) for error in errors)
        assert isinstance(errors[-1], BusyError)
        assert 1 <= errors[-1].retry_after_seconds <= 30

    play(scheduler, story)


def test_the_time_after_which_to_come_back_is_that_of_the_queue(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(limits=Limits(queue=4))

    async def story() -> None:
        release, got = asyncio.Event(), list[Lease]()
        async with scheduler.lease(workshop.target()):
            await asyncio.sleep(1.2)  # how long a request of this model takes
        first = asyncio.create_task(hold(scheduler, workshop.target(), release, got))
        await until(lambda: bool(got), "the first has its slot")
        waiting = [asyncio.create_task(use(scheduler, workshop.target())) for _ in range(4)]
        await until(lambda: got[0].runner.waiting == 4, "the queue is full")

        with pytest.raises(BusyError) as caught:
            await use(scheduler, workshop.target())

        assert 5 <= caught.value.retry_after_seconds <= 20
        release.set()
        await asyncio.gather(first, *waiting)

    play(scheduler, story)


def test_a_new_configuration_waits_for_the_old_runner_where_both_do_not_fit(workshop: Workshop) -> None:
    scheduler = workshop.scheduler(room_for=1.5)

    async def story() -> None:
        old, new = workshop.target(256), workshop.target(512)
        async with scheduler.lease(old) as held:
            waiting = asyncio.create_task(use(scheduler, old))
            await until(lambda: held.runner.waiting == 1, "one waits for the old one")
            scheduler.release({old.key})
            other = asyncio.create_task(use(scheduler, new))
            await until(lambda: len(scheduler.runners()) == 2, "the new one waits for memory")

            assert await ask(held) == 200
            assert [runner.state for runner in scheduler.runners()] == [RunnerState.DRAINING, RunnerState.WAITING]

        assert (await waiting, await other) == (old.key, new.key)
        assert [runner.key for runner in scheduler.runners()] == [new.key]

    play(scheduler, story)


def test_a_crash_while_an_unloaded_runner_serves_its_last_ones_leaves_nobody_waiting(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()

    async def story() -> None:
        async with scheduler.lease(workshop.target()) as held:
            waiting = asyncio.create_task(use(scheduler, workshop.target()))
            await until(lambda: held.runner.waiting == 1, "one waits")
            scheduler.release({held.runner.key})
            await until(lambda: held.runner.state is RunnerState.DRAINING, "it drains")
            assert held.runner.process is not None
            psutil.Process(held.runner.process.pid).kill()

            await waiting
            await until(lambda: scheduler.runners() == [], "the successor goes too, as nobody can reach it")

    play(scheduler, story)
