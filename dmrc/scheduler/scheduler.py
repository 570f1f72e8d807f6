"""The scheduler: gives each request a runner, starts what is missing, and lets others give way (see `eviction`)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from dmrc.background import begin
from dmrc.engines.engine import Engine
from dmrc.errors import BusyError, DmrcError, EngineError
from dmrc.scheduler.budget import Budget
from dmrc.scheduler.eviction import Eviction
from dmrc.scheduler.following import follow
from dmrc.scheduler.lease import Lease
from dmrc.scheduler.limits import Limits
from dmrc.scheduler.outlook import Outlook
from dmrc.scheduler.queue import QueueEntry
from dmrc.scheduler.refusals import stopping, unloaded
from dmrc.scheduler.reservations import Reservations
from dmrc.scheduler.restart_backoff import RestartBackoff
from dmrc.scheduler.runner import ManagedRunner, RunnerObserver, RunnerQueue
from dmrc.scheduler.runners import Runners
from dmrc.scheduler.seen_devices import SeenDevices
from dmrc.scheduler.starting import RunnerStarts
from dmrc.scheduler.states import RunnerState
from dmrc.scheduler.supervision import Supervision
from dmrc.scheduler.target import Target

_log = logging.getLogger(__name__)
_DEFAULT_LIMITS = Limits()


class Scheduler:
    """Owns all runners. Not safe for threads: everything runs on one event loop, and decisions do not await."""

    def __init__(
        self, engines: Mapping[str, Engine], run: Path, logs: Path, budget: Budget, limits: Limits = _DEFAULT_LIMITS
    ) -> None:
        """Know the engines by name, and where sockets and logs go."""
        self.observers: list[RunnerObserver] = []
        self.devices = SeenDevices()  # the graphics cards, as engines last saw them
        self._engines, self._limits = engines, limits
        self._queues, self._runners = dict[str, RunnerQueue](), Runners()
        self.outlook = Outlook(budget, self._runners, self.devices, engines)  # what would fit
        eviction = Eviction(budget, limits)
        reservations = Reservations(eviction, self._runners, limits, self._give_way, self.load, self.devices)
        self.starts = RunnerStarts(run, logs, reservations)  # how a runner begins to answer
        self.backoff, self._closing = RestartBackoff(), False

    def runners(self) -> list[ManagedRunner]:
        """Return the runners that live, in the order of their start; those that wait for memory are among them."""
        return self._runners.alive()

    @asynccontextmanager
    async def lease(self, target: Target, keep_alive_seconds: float | None = None) -> AsyncIterator[Lease]:
        """Hold a slot of the runner of `target`, which is started if need be.

        Requests for equal targets are served in their order. `keep_alive_seconds` is how long the runner stays idle
        afterwards, in place of what the target says; of several, that of the last to get a slot. inf pins nothing.

        Who is cancelled leaves the queue at once. A load that has begun goes on, it is the daemon's; a runner that
        still waits for memory goes with the last one who wanted it.

        Raises:
            BusyError: Too many wait already, the engine has just failed, or memory was not to be had for minutes.
            EngineError: The runner does not start, or does not fit.
        """
        lease = await self._enter(target, keep_alive_seconds)
        began, hung_up = time.monotonic(), False
        try:
            yield lease
            self.backoff.answered(lease.runner.key)
        except asyncio.CancelledError:
            hung_up = not self._closing
            raise
        except (OSError, EngineError):
            await lease.runner.notice_death()  # before the slot is the next one's
            raise
        finally:
            if lease.runner.queue is not None:
                lease.runner.queue.took(time.monotonic() - began)
            if hung_up:
                self._runners.spawn(self._leave_later(lease))
            else:
                lease.leave_slot()
                self._leave(lease.runner)

    async def load(self, target: Target) -> ManagedRunner:
        """Start the runner of `target` and wait until it is ready.

        Raises:
            EngineError: It does not start, or does not fit.
        """
        queue = self._queue(target)
        runner = self._runners.of(queue) or self._begin(queue)
        queue.loads += 1
        try:
            if runner.load is not None:
                await asyncio.wait({runner.load})  # a caller that goes away does not end the load
        finally:
            queue.loads -= 1
            self._runners.forget_unwanted(queue)
        if runner.load is None or runner.load.cancelled():
            raise unloaded(target)
        runner.load.result()
        runner.touch()
        return runner

    async def unload(self, runner: ManagedRunner) -> None:
        """Let a runner serve those who wait for it already, then end it; who comes later gets another one."""
        queue = runner.queue
        if queue is not None and self._queues.get(runner.key) is queue:
            del self._queues[runner.key]
        if runner.state in (RunnerState.WAITING, RunnerState.STARTING):
            if queue is not None:
                queue.fail(unloaded(runner.target))
            self._runners.cancel(runner)
        elif runner.state is RunnerState.READY:
            runner.state = RunnerState.DRAINING
        self._runners.end_if_drained(runner)
        while runner in self._runners:
            await self._runners.change()

    def release(self, keys: Collection[str]) -> list[asyncio.Task[None]]:
        """Begin to unload the runners of these targets; the tasks end when they have gone."""
        self.starts.kept.forget(keys)
        return [self._runners.spawn(self.unload(runner)) for runner in self.runners() if runner.key in keys]

    async def close(self) -> None:
        """End all runners at once, in parallel, and wait for everything that was begun."""
        self._closing = True
        served = (runner.queue for runner in self._runners.alive() if runner.queue is not None)
        for queue in {*self._queues.values(), *served}:
            queue.fail(stopping())
        await self._runners.close()
        self.starts.kept.close()

    async def _enter(self, target: Target, keep_alive_seconds: float | None) -> Lease:
        """Wait in the queue for a slot; again where the runner ends in the moment in which it has one."""
        while True:
            queue = self._queue(target)
            runner = self._runners.of(queue) or self._begin(queue)
            entry = queue.join(keep_alive_seconds, runner.parallel)
            self._serve(queue)
            try:
                runner = await entry.granted
            except BaseException:
                self._give_up(queue, entry)
                raise
            if runner.is_alive and runner.session is not None:
                return Lease.of(runner, runner.session, entry)
            self._leave(runner)

    def _leave(self, runner: ManagedRunner) -> None:
        """Free the slot of a request, for the next one in the queue."""
        runner.leave()
        self._serve(runner.queue)
        self._runners.end_if_drained(runner)
        if runner.is_idle:
            self._runners.announce()

    async def _leave_later(self, lease: Lease) -> None:
        """Free the slot of a caller who has hung up, when the engine has let go of it, too."""
        try:
            await lease.runner.hang_ups.wait()
        finally:
            lease.leave_slot(hung_up=True)
            self._leave(lease.runner)

    def _give_up(self, queue: RunnerQueue, entry: QueueEntry[ManagedRunner]) -> None:
        """Undo what was done for a caller who has gone, or who was refused."""
        queue.leave(entry)
        granted = entry.granted
        if granted.done() and not granted.cancelled() and granted.exception() is None:
            self._leave(granted.result())
            return
        runner = self._runners.of(queue)
        if runner is not None:
            runner.rest()  # the last one to wait may have gone away
            self._runners.end_if_drained(runner)
        self._runners.forget_unwanted(queue)
        self._runners.announce()

    def _queue(self, target: Target) -> RunnerQueue:
        """Return the queue for a target. The runner learns of it: keep_alive may have changed, the key has not."""
        if self._closing:
            raise stopping()
        key = target.key
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = RunnerQueue(target, self._limits.queue)
        queue.target = target
        runner = self._runners.of(queue)
        if runner is not None:
            runner.name = target.reference
        if runner is not None and runner.target.keep_alive_seconds != target.keep_alive_seconds:
            runner.target, runner.keep_alive_seconds = target, target.keep_alive_seconds
        return queue

    def _begin(self, queue: RunnerQueue) -> ManagedRunner:
        """Begin to start a runner for a queue. Does not await: it is one decision.

        Raises:
            BusyError: The last ones died or did not start, and the pause is not over.
        """
        self.backoff.refuse_too_soon(queue.target.key)
        engine = self._engines[queue.target.engine]
        runner = ManagedRunner(queue, engine, on_idle=self._on_idle, observers=self.observers)
        self._runners.add(runner)
        # A failure is logged where it happens, and there may be no caller left to raise it to.
        runner.load = begin(self._start(runner), "the load of a model", expected=DmrcError)
        return runner

    def _serve(self, queue: RunnerQueue | None) -> None:
        """Give free slots to those who wait; start a runner where there is none. None: nobody can wait."""
        if queue is None:
            return
        runner = self._runners.of(queue)
        if runner is None and queue.is_wanted and not self._closing:
            try:
                runner = self._begin(queue)
            except BusyError as error:  # they have not been near the engine that died: they wait for the next one
                asyncio.get_running_loop().call_later(error.retry_after_seconds or 1, self._serve, queue)
        while runner is not None and len(queue) and runner.has_free_slot and (entry := queue.next()) is not None:
            runner.enter(entry)

    async def _start(self, runner: ManagedRunner) -> None:
        """Wait for memory, then for the child to answer. The task of one load; ends in READY or FAILED."""
        try:
            load_seconds = await self.starts.start(runner)
        except BaseException as error:
            await self._fail(runner, error)
            raise
        runner.become_ready(load_seconds)
        self._runners.turn += 1
        _log.debug("runner %s is ready after %.2f s", runner.target.reference, load_seconds)
        self._runners.spawn(self._watch(runner))
        follow(runner, self._serve)
        # The one before it was unloaded, and died with some waiting.
        if runner.queue is not self._queues.get(runner.key):
            runner.state = RunnerState.DRAINING
        self._serve(runner.queue)
        self._runners.end_if_drained(runner)
        runner.rest()
        self._runners.announce()

    async def _fail(self, runner: ManagedRunner, error: BaseException) -> None:
        """End a runner that does not become ready, and tell those who wait for it why."""
        had_begun = runner.need is not None or runner.process is not None
        runner.state = RunnerState.FAILED
        queue, runner.queue = runner.queue, None
        if isinstance(error, DmrcError):
            _log.warning("runner %s did not start: %s", runner.target.reference, error)
            if had_begun:
                self.backoff.note(runner.key, error.message, runner.target.reference)
        if queue is not None:
            queue.fail(error if isinstance(error, DmrcError) else unloaded(runner.target))
        await self._runners.end(runner)

    def _give_way(self, victim: ManagedRunner) -> None:
        """Let a runner end after its last answer. Those who wait for it get its successor, when that has memory."""
        queue, victim.queue = victim.queue, None
        victim.state = RunnerState.DRAINING
        self._runners.end_if_drained(victim)
        self._serve(queue)

    async def _watch(self, runner: ManagedRunner) -> None:
        """Notice the end of a child that nobody asked to end; those who wait for it get another one."""
        if runner.process is None:
            return
        why = "dmrc can no longer watch its engine"  # and none may look ready that nobody watches
        try:
            why = await Supervision(runner, runner.process).until_end()
        finally:
            await self._ended(runner, why)

    async def _ended(self, runner: ManagedRunner, why: str) -> None:
        was_needed = runner.state is RunnerState.READY or bool(runner.in_use or runner.waiting)
        if self._closing or not runner.is_alive or not was_needed:
            return
        runner.state, runner.failure = RunnerState.FAILED, why
        self.backoff.note(runner.key, why, runner.target.reference)
        _log.warning("runner %s: %s", runner.target.reference, why)
        queue, runner.queue = runner.queue, None
        self._serve(queue)
        await self._runners.end(runner)

    def _on_idle(self, runner: ManagedRunner) -> None:
        if runner.is_idle:
            self._runners.spawn(self._end_idle(runner))

    async def _end_idle(self, runner: ManagedRunner) -> None:
        """Keep what pays of its prompts, and end it; where somebody comes meanwhile, it stays."""
        if await self.starts.kept.save(runner):
            runner.stop_reason = "idle"
            self._give_way(runner)
