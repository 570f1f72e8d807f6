"""The scheduler: gives each request a runner, starts what is missing, and makes room by evicting what rests longest."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from dmrc.engines.engine import Engine, Launch
from dmrc.engines.process import EngineProcess
from dmrc.errors import BusyError, DmrcError, EngineError
from dmrc.scheduler.budget import Budget
from dmrc.scheduler.deaths import Deaths
from dmrc.scheduler.runner import Runner, State
from dmrc.scheduler.target import Target

_log = logging.getLogger(__name__)

QUEUE_LIMIT = 256
"""Requests that may wait for one runner; the next one gets 503."""

ROOM_SECONDS = 60.0
"""How long a load waits for busy runners to become idle before it is refused."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A place on a runner, held by one request."""

    runner: Runner
    """The runner; it does not go while the lease is held."""
    session: aiohttp.ClientSession
    """HTTP client to the runner's socket."""
    queue_ms: float
    """Milliseconds spent waiting for a slot."""
    load_ms: float
    """Milliseconds spent waiting for the model to load."""


class Scheduler:
    """Owns all runners. Not safe for threads: everything runs on one event loop, and decisions do not await."""

    def __init__(
        self, engines: Mapping[str, Engine], run: Path, logs: Path, budget: Budget, *, queue_limit: int = QUEUE_LIMIT
    ) -> None:
        """Know the engines by name, and where sockets and logs go; sockets that a killed daemon left are removed."""
        for stale in run.glob("runner-*.sock"):
            stale.unlink(missing_ok=True)
        self._engines = engines
        self._run = run
        self._logs = logs
        self._budget = budget
        self._queue_limit = queue_limit
        self._runners: list[Runner] = []
        self._numbers = itertools.count(1)
        self._deaths = Deaths()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def runners(self) -> list[Runner]:
        """Return the runners that live, in the order of their start."""
        return [runner for runner in self._runners if runner.is_alive]

    @asynccontextmanager
    async def lease(self, target: Target) -> AsyncIterator[Lease]:
        """Hold a slot of the runner of `target`, which is started if need be.

        A caller that is cancelled leaves the queue at once; a load goes on, it belongs to the daemon.

        Raises:
            BusyError: Too many wait already.
            EngineError: The runner does not start, or does not fit.
        """
        lease = await self._enter(target)
        try:
            yield lease
        finally:
            lease.runner.slots.release()
            lease.runner.leave()
            self._announce()

    async def load(self, target: Target) -> Runner:
        """Start the runner of `target` and wait until it is ready.

        Raises:
            EngineError: It does not start, or does not fit.
        """
        runner = self._runner(target)
        await self._loaded(runner)
        runner.touch()
        return runner

    async def unload(self, runner: Runner) -> None:
        """Let a runner finish what it does, then end it."""
        if runner.state is State.STARTING and runner.load is not None:
            runner.load.cancel()
        if runner.state is State.READY:
            runner.state = State.DRAINING
        while runner.is_alive and (runner.in_use or runner.waiting):
            await self._changed.wait()
        await self._end(runner)

    async def close(self) -> None:
        """End all runners at once, in parallel, and wait for everything that was begun."""
        self._closing = True
        loads = {runner.load for runner in self._runners if runner.load is not None}
        for load in loads:
            load.cancel()
        await asyncio.gather(*(self._end(runner) for runner in list(self._runners)))
        if begun := loads | self._tasks:
            await asyncio.wait(begun)

    async def _enter(self, target: Target) -> Lease:
        """Wait for a slot. A runner that dies while its queue waits is started again for those who wait."""
        started = time.monotonic()
        while True:
            runner = self._runner(target)
            self._refuse_beyond_the_queue(runner)
            runner.waiting += 1
            try:
                session = await self._loaded(runner)
                loaded = time.monotonic()
                await runner.slots.acquire()
            finally:
                runner.waiting -= 1
                runner.rest()  # the last one to wait may have gone away
                self._announce()
            if runner.state in (State.READY, State.DRAINING):
                break
            runner.slots.release()
        runner.enter()
        now = time.monotonic()
        return Lease(runner, session, queue_ms=(now - loaded) * 1000, load_ms=(loaded - started) * 1000)

    def _refuse_beyond_the_queue(self, runner: Runner) -> None:
        if runner.waiting >= self._queue_limit:
            raise BusyError(
                f"{runner.waiting} requests wait for model '{runner.target.reference}' already",
                retry_after_seconds=5,
                remedy="Try again later, or allow more at once with x-dmrc: {parallel: N}",
            )

    def _runner(self, target: Target) -> Runner:
        """Return the living runner of a target, or begin to start one. Does not await: it is one decision."""
        if self._closing:
            raise EngineError("the daemon is stopping")
        key = target.key
        for runner in self._runners:
            if runner.key == key and runner.state in (State.STARTING, State.READY):
                runner.target = target  # keep_alive may have changed; the key has not
                return runner
        self._deaths.refuse_too_soon(key, target.reference)
        runner = Runner(target, on_idle=self._on_idle)
        self._runners.append(runner)
        runner.load = asyncio.create_task(self._start(runner))
        runner.load.add_done_callback(_retrieve)
        return runner

    async def _loaded(self, runner: Runner) -> aiohttp.ClientSession:
        if runner.load is not None:
            await asyncio.wait({runner.load})  # a caller that goes away does not end the load
            if not runner.load.cancelled():
                runner.load.result()
        if runner.session is None or runner.load is None or runner.load.cancelled():
            raise EngineError(f"model '{runner.target.reference}' was unloaded meanwhile", remedy="Try again")
        return runner.session

    async def _start(self, runner: Runner) -> None:
        """Make room, start the child, wait until it answers. The task of one load; ends in READY or FAILED."""
        began = time.monotonic()
        try:
            await self._make_room(runner)
            await self._launch(runner)
        except BaseException as error:
            runner.state = State.FAILED
            await self._end(runner)
            if isinstance(error, DmrcError):
                _log.warning("runner %s did not start: %s", runner.target.reference, error)
            raise
        runner.load_seconds = time.monotonic() - began
        runner.state = State.READY
        runner.rest()
        self._spawn(self._watch(runner))
        _log.info("runner %s is ready after %.2f s", runner.target.reference, runner.load_seconds)
        self._announce()

    async def _make_room(self, runner: Runner) -> None:
        """Reserve memory for a runner, evicting idle ones; wait a bounded time for busy ones.

        Raises:
            InsufficientMemoryError: It would not fit beside the pinned ones, or does not after waiting.
        """
        deadline = time.monotonic() + ROOM_SECONDS
        largest = self._engines[runner.target.configuration.engine].largest_parallel
        while True:
            others = [other for other in self.runners() if other is not runner]
            available = self._budget.available(other.held for other in others)
            runner.need = self._budget.fit(runner.target, available, largest)
            if runner.need is not None:
                return
            movable = [other for other in others if not other.is_pinned]
            pinned = [other.held for other in others if other.is_pinned]
            at_best = self._budget.available(pinned, going=(other.held for other in movable))
            if self._budget.fit(runner.target, at_best, largest) is None:
                raise self._budget.refuse(runner.target, at_best, largest)
            if idle := [other for other in movable if other.is_idle]:
                victim = min(idle, key=lambda other: other.last_used)
                _log.info("runner %s makes room for %s", victim.target.reference, runner.target.reference)
                victim.state = State.DRAINING
                await self._end(victim)
            elif time.monotonic() < deadline:
                await self._next_change(deadline - time.monotonic())
            else:
                raise self._budget.refuse(runner.target, available, largest)

    async def _launch(self, runner: Runner) -> None:
        target, need = runner.target, runner.need
        if need is None:
            raise EngineError(f"no memory was reserved for '{target.reference}'")
        engine = self._engines[target.configuration.engine]
        # The number keeps it apart from a runner of the same key that still finishes what it does.
        socket = self._run / f"runner-{runner.key}-{next(self._numbers)}.sock"
        log = self._logs / f"runner-{runner.key}.log"
        launch = Launch(
            name=target.reference,
            gguf=target.gguf,
            mmproj=target.mmproj,
            chat_template=target.chat_template,
            mode=target.configuration.mode,
            context_size=target.context_size,
            parallel=need.parallel,
            runtime_flags=target.configuration.runtime_flags,
            socket=socket,
            log=log,
        )
        runner.process = await EngineProcess.start(engine, launch)
        await runner.process.wait_ready()
        runner.slots = asyncio.Semaphore(need.parallel)
        # llama.cpp's server closes kept-alive connections without a word, so each request opens its own.
        connector = aiohttp.UnixConnector(path=str(socket), force_close=True, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        runner.session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)

    async def _watch(self, runner: Runner) -> None:
        """Notice the death of a child that nobody asked to end."""
        if runner.process is None:
            return
        code = await runner.process.wait_exit()
        if runner.state is not State.READY:
            return
        runner.state = State.FAILED
        self._deaths.note(runner.key)
        _log.warning("runner %s died (exit code %s)", runner.target.reference, code)
        await self._end(runner)

    def _on_idle(self, runner: Runner) -> None:
        if runner.is_idle:
            runner.state = State.DRAINING
            self._spawn(self._end(runner))

    async def _end(self, runner: Runner) -> None:
        try:
            await runner.stop()
        finally:
            if runner in self._runners:
                self._runners.remove(runner)
            self._announce()

    def _announce(self) -> None:
        """Wake everyone who waits for a change, once."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next_change(self, timeout_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_seconds)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _retrieve(load: asyncio.Task[None]) -> None:
    """Mark the failure of a load as seen: it is logged, and there may be no caller left to raise it to."""
    if not load.cancelled():
        load.exception()
