"""The news of changes, and what becomes of those who wait for them."""

from __future__ import annotations

import asyncio

import pytest

from dmrc.scheduler.runners import Runners


@pytest.mark.parametrize("steps", range(4))
def test_a_cancellation_that_comes_with_the_change_is_not_swallowed(steps: int) -> None:
    """`asyncio.wait_for` of Python 3.11 does that: a cancelled load went on, and started a child nobody knew of."""

    async def story() -> None:
        runners = Runners()
        waiter = asyncio.create_task(runners.change(60))
        await asyncio.sleep(0.01)

        runners.announce()
        for _ in range(steps):
            await asyncio.sleep(0)
        was_waiting = waiter.cancel()
        await asyncio.wait({waiter})

        assert waiter.cancelled() == was_waiting

    asyncio.run(story())


def test_a_change_that_does_not_come_ends_the_wait() -> None:
    """The outer limit raises where it does not."""
    asyncio.run(asyncio.wait_for(Runners().change(0.01), 10))


def test_what_work_beside_raises_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """It was read by nobody: a watch that had ended left a dead runner that looked ready."""

    async def story() -> None:
        async def fails() -> None:
            raise OSError(28, "No space left on device")

        await asyncio.wait({Runners().spawn(fails())})
        await asyncio.sleep(0)

    asyncio.run(story())

    assert "work on the runners failed" in caplog.text
    assert "No space left on device" in caplog.text
