"""One runner: an engine child for one target, as a small state machine."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from dmrc.engines.engine import Counts, Engine, Launch
from dmrc.engines.process import EngineProcess
from dmrc.engines.replicas import Replicas
from dmrc.engines.session import Session
from dmrc.scheduler.budget import MemoryUse
from dmrc.scheduler.fitting import MemoryNeed
from dmrc.scheduler.hang_ups import HangUps
from dmrc.scheduler.queue import QueueEntry, RequestQueue
from dmrc.scheduler.slots import Slots
from dmrc.scheduler.states import RunnerState, StopReason

_DEATH_SECONDS = 5.0
_COUNT_SECONDS = 2.0


class RunnerObserver(Protocol):
    """Hears of runners, on the event loop. Neither waits nor raises."""

    def runner_started(self, runner: ManagedRunner) -> None:
        """Hear that a runner answers."""

    def runner_stopped(self, runner: ManagedRunner) -> None:
        """Hear that a runner that answered has ended; once for each that started."""


class ManagedRunner:
    """A runner. All methods run on the event loop of the daemon; only the scheduler changes its state."""

    def __init__(
        self,
        queue: RunnerQueue,
        engine: Engine,
        on_idle: Callable[[ManagedRunner], None],
        observers: Sequence[RunnerObserver] = (),
    ) -> None:
        """Make a runner of `engine` that holds nothing; `on_idle` is called when its idle time is over."""
        self.engine = engine
        self.target = queue.target
        self.key = queue.target.key
        self.name = queue.target.reference
        """What its last user called the model: of one model there may be several tags."""
        self.state = RunnerState.WAITING
        self.queue: RunnerQueue | None = queue
        """Whom it serves; None once it gives way and takes nobody any more."""
        self.need: MemoryNeed | None = None
        """The memory that is reserved for it."""
        self.unused_cards: str | None = None
        """Graphics cards of this machine that its engine should have listed, in words."""
        self.claim: MemoryNeed | None = None
        """The memory that others are giving up for it."""
        self.process: EngineProcess | None = None
        self.session: Session | None = None
        self.replicas: Replicas | None = None
        self.slots: Slots | None = None  # where its requests are told their slots
        self.loaded_bytes = (0, 0)
        """What its child had in memory when it began to answer, and what of that was its own."""
        self.load: asyncio.Task[None] | None = None
        self.following: asyncio.Task[None] | None = None
        self.in_use = 0
        self.hang_ups = HangUps(self)
        """Of those in use, slots whose callers have gone, and for whom the engine still works."""
        self.served = 0
        """Requests that have had a slot of it so far."""
        self.began_at = self.last_used = time.time()
        """When it began to wait for memory, and after that when it began to load; in Unix seconds."""
        self.load_seconds: float | None = None
        self.waits_since = time.monotonic()
        self.ready_since = self.idle_since = math.inf
        self.keep_alive_seconds = queue.target.keep_alive_seconds
        """How long it stays when idle: as its last user wished."""
        self.stop_reason: StopReason = "unloaded"
        self.failure: str | None = None
        """Why its child ended when nobody had asked for it, as a sentence without a full stop."""
        self.gives_back = False
        """Whether it is about to start anew with a smaller prompt cache, for others need the memory."""
        self._watchers = observers
        self._has_started, self._on_idle = False, on_idle
        self._idle_timer: asyncio.TimerHandle | None = None

    @property
    def is_alive(self) -> bool:
        """Return whether it holds memory, or is about to."""
        return self.state in (RunnerState.WAITING, RunnerState.STARTING, RunnerState.READY, RunnerState.DRAINING)

    @property
    def waiting(self) -> int:
        """Return how many requests wait for it."""
        return len(self.queue) if self.queue is not None else 0

    @property
    def is_idle(self) -> bool:
        """Return whether nobody uses it and nobody waits for it."""
        return self.state is RunnerState.READY and self.in_use == 0 and self.waiting == 0

    @property
    def is_on_its_way(self) -> bool:
        """Return whether it takes memory that it has not yet, or gives some back that it still has."""
        return self.state in (RunnerState.STARTING, RunnerState.DRAINING)

    @property
    def is_pinned(self) -> bool:
        """Return whether its configuration says that it stays for ever; a request that says so pins nothing."""
        return math.isinf(self.target.keep_alive_seconds)

    @property
    def has_free_slot(self) -> bool:
        """Return whether it can serve one more request now."""
        has_ended = self.process is not None and self.process.exit_code is not None  # and nobody was told of it yet
        return self.state in (RunnerState.READY, RunnerState.DRAINING) and self.in_use < self.parallel and not has_ended

    @property
    def parallel(self) -> int:
        """Return how many requests it serves at the same time; with replicas that may change, and be none."""
        if self.need is not None:
            return self.need.parallel
        if self.replicas is not None:
            return self.replicas.slots
        wanted = self.engine.asked_parallel(self.target.options) or self.engine.usual_parallel
        return min(wanted, self.engine.largest_parallel or wanted)

    @property
    def knows_context(self) -> bool:
        """Return whether a request has the context of the target: it was given to a server of ours."""
        return self.need is not None or (self.replicas is not None and self.process is not None)

    @property
    def has_free_prompt_cache(self) -> bool:
        """Return whether earlier prompts are of use, and the project leaves it to us how much memory they get."""
        return self.engine.keeps_prompts(self.target.model, self.target.options)

    @property
    def held(self) -> MemoryUse:
        """Return the memory that it holds or was promised."""
        if self.need is None:
            return MemoryUse(0, 0)
        resident, private = self.process.memory_bytes() if self.process is not None else (0, 0)
        if self.need.cards:  # a card's driver takes RAM as it likes, and that is no prompt cache
            resident -= max(0, self.loaded_bytes[0] - self.need.memory.bare_bytes)
        if self.ready_since < math.inf:  # memory of a card is no process's, and is taken all the same
            private = max(private, self.need.unavailable_bytes)
        if not self.has_free_prompt_cache:
            return MemoryUse(self.need.ram_bytes, private, 0, self.need.cards, self.ready_since)
        return MemoryUse.of(self.need, resident, private, self.ready_since)

    @property
    def notice(self) -> str | None:
        """Return what its users should know of it, as a sentence without a full stop; None where there is nothing."""
        if self.unused_cards is not None:
            return (
                f"model '{self.name}' is computed by the processor: engine {self.target.engine} cannot use "
                f"{self.unused_cards}. See: dmrc doctor"
            )
        if self.replicas is not None and (notice := self.replicas.notice) is not None:
            return f"model '{self.name}': {notice}"
        return self.need.notice(self.name) if self.need is not None else None

    @property
    def can_give_back(self) -> bool:
        """Return whether it would take less memory if it started anew."""
        if self.need is None or self.state is not RunnerState.READY or self.gives_back:
            return False
        return self.has_free_prompt_cache and self.need.memory.prompt_cache_bytes > 0

    @property
    def expires_at(self) -> float | None:
        """Return the Unix second at which an idle runner goes; None while used, or for ever."""
        if not self.is_idle or math.isinf(self.keep_alive_seconds):
            return None
        return self.last_used + self.keep_alive_seconds

    def become_ready(self, load_seconds: float) -> None:
        """Take requests from now on."""
        self.load_seconds = load_seconds
        self.ready_since = self.idle_since = time.monotonic()
        self.state = RunnerState.READY
        self._has_started = True
        for watcher in self._watchers:
            watcher.runner_started(self)

    def enter(self, entry: QueueEntry[ManagedRunner]) -> None:
        """Give a slot to a request, which keeps the runner from going."""
        self.in_use += 1
        self.served += 1
        wish = entry.keep_alive_seconds
        self.keep_alive_seconds = self.target.keep_alive_seconds if wish is None else wish
        self._cancel_timer()
        entry.granted.set_result(self)

    def leave(self) -> None:
        """Count one user less; the last one starts the idle time."""
        self.in_use -= 1
        self.touch()

    def touch(self) -> None:
        """Begin the idle time anew, as after a request."""
        self.last_used = time.time()
        self.idle_since = time.monotonic()
        self.rest()

    def rest(self) -> None:
        """Start the idle time when nobody uses it."""
        self._cancel_timer()
        if self.is_idle and not math.isinf(self.keep_alive_seconds):
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self.keep_alive_seconds, self._on_idle, self)

    async def launch(self, launch: Launch, mask: Callable[[str], str]) -> None:
        """Start its server, and wait until it answers; `mask` is for its log.

        Raises:
            EngineError: It does not: why, as far as can be told.
        """
        server = await self.engine.start(launch, mask)
        self.process, self.replicas = server.process, server.replicas
        self.session = await server.wait_ready()
        if self.engine.tells_slots(self.target.options):
            self.slots = Slots(self.parallel, has_cache=launch.prompt_cache_bytes > 0)
        if self.process is not None:
            self.loaded_bytes = self.process.memory_bytes()
            if self.need is not None:
                self.need = self.need.corrected(self.engine.device_use(self.process.load_notes))

    async def counts(self) -> Counts | None:
        """Ask what its engine counts; None where it does not.

        Raises:
            ConnectionError: It has gone.
        """
        return None if self.session is None else await self.engine.counts(self.session)

    async def counts_soon(self) -> Counts | None:
        """Ask as `counts` does; None, too, where it does not answer within two seconds."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_COUNT_SECONDS):
                return await self.counts()
        return None

    async def notice_death(self) -> None:
        """After a connection broke off, ask the child whether it lives; if not, wait until its end is known.

        The connections of a child that dies break a moment before the system tells of its end. One that has replicas
        lives as long as it says anything: that they all have gone is not its own end.
        """
        process = self.process
        if process is None or await (process.is_there() if self.replicas is not None else process.is_healthy()):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DEATH_SECONDS):
                await process.wait_exit()

    async def end_engine(self) -> None:
        """End its child, and the connections to it; safe to call twice."""
        if self.session is not None:
            await self.session.close()
        if self.process is not None:
            await self.process.stop()

    async def stop(self) -> None:
        """End the child, whatever its state; safe to call twice."""
        self._cancel_timer()
        if self.following is not None:
            self.following.cancel()
            await asyncio.wait({self.following})
        await self.end_engine()
        if self.state is RunnerState.FAILED:
            self.stop_reason = "died"
        else:
            self.state = RunnerState.STOPPED
        if self._has_started:
            self._has_started = False
            for watcher in self._watchers:
                watcher.runner_stopped(self)

    def _cancel_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None


RunnerQueue: TypeAlias = RequestQueue[ManagedRunner]
"""The requests that wait for a slot of a runner."""
