"""The runners that live, the tasks around them, and the news of their changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine

from dmrc.background import BackgroundTasks
from dmrc.scheduler.runner import ManagedRunner, RunnerQueue
from dmrc.scheduler.states import RunnerState


class Runners:
    """All runners of a scheduler, in the order of their start. For one event loop."""

    def __init__(self) -> None:
        self.turn = 0
        """Grows whenever one begins to answer, or has ended."""
        self._runners: list[ManagedRunner] = []
        self._changed = asyncio.Event()
        self._tasks = BackgroundTasks("work on the runners")

    def __contains__(self, runner: ManagedRunner) -> bool:
        """Return whether a runner has not ended yet."""
        return runner in self._runners

    def alive(self) -> list[ManagedRunner]:
        """Return the runners that hold memory, or wait for it."""
        return [runner for runner in self._runners if runner.is_alive]

    def of(self, queue: RunnerQueue) -> ManagedRunner | None:
        """Return the runner that serves a queue, or is going to."""
        for runner in self._runners:
            if runner.queue is queue:
                return runner
        return None

    def add(self, runner: ManagedRunner) -> None:
        """Take a new runner in."""
        self._runners.append(runner)

    def end_if_drained(self, runner: ManagedRunner) -> None:
        """Begin to end a runner that drains and has nothing left to do; safe to call twice."""
        if runner.state is RunnerState.DRAINING and runner.in_use == 0 and runner.waiting == 0:
            runner.queue = None
            self.spawn(self.end(runner))

    def forget_unwanted(self, queue: RunnerQueue) -> None:
        """Let go of a runner that waits for memory, and that nobody waits for any more."""
        runner = self.of(queue)
        if runner is not None and runner.state is RunnerState.WAITING and not queue.is_wanted:
            runner.queue = None
            self.cancel(runner)

    def cancel(self, runner: ManagedRunner) -> None:
        """End a load."""
        if runner.load is not None:
            runner.load.cancel()
        if runner.state is RunnerState.WAITING:  # its task may not have run a step, and then cannot end the runner
            self.spawn(self.end(runner))

    async def end(self, runner: ManagedRunner) -> None:
        """End a runner, whatever it does. It counts as holding its memory until its child has gone."""
        try:
            await runner.stop()
        finally:
            if runner in self._runners:
                self._runners.remove(runner)
            self.turn += 1
            self.announce()

    async def close(self) -> None:
        """End all runners, in parallel, and wait for everything that was begun."""
        for runner in self._runners:
            runner.stop_reason = "shutdown"
        loads = {runner.load for runner in self._runners if runner.load is not None}
        for load in loads:
            load.cancel()
        await asyncio.gather(*(self.end(runner) for runner in list(self._runners)))
        if begun := loads | self._tasks.running():
            await asyncio.wait(begun)

    def announce(self) -> None:
        """Wake everyone who waits for a change, once."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self, timeout_seconds: float | None = None) -> None:
        """Wait for the next change, or so long."""
        # Not `wait_for`: in Python 3.11 it swallows a cancellation that comes in the moment of the change.
        # https://github.com/python/cpython/issues/86296
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._changed.wait()

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run work beside, until it is done or all is closed."""
        return self._tasks.spawn(work)
