"""One runner: an engine child for one target, as a small state machine."""

from __future__ import annotations

import asyncio
import enum
import math
import time
from collections.abc import Callable

import aiohttp

from dmrc.engines.process import EngineProcess
from dmrc.scheduler.budget import Held, Need
from dmrc.scheduler.target import Target


class State(enum.StrEnum):
    """Where a runner is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class Runner:
    """A runner. All methods run on the event loop of the daemon; only the scheduler changes its state."""

    def __init__(self, target: Target, on_idle: Callable[[Runner], None]) -> None:
        """Make a runner that holds nothing; `on_idle` is called when its idle time is over."""
        self.target = target
        self.key = target.key
        self.state = State.STARTING
        self.need: Need | None = None
        self.process: EngineProcess | None = None
        self.session: aiohttp.ClientSession | None = None
        self.load: asyncio.Task[None] | None = None
        self.slots = asyncio.Semaphore(1)
        self.in_use = 0
        self.waiting = 0
        self.last_used = time.time()
        self.load_seconds: float | None = None
        self._on_idle = on_idle
        self._idle_timer: asyncio.TimerHandle | None = None

    @property
    def is_alive(self) -> bool:
        """Return whether it holds memory, or is about to."""
        return self.state in (State.STARTING, State.READY, State.DRAINING)

    @property
    def is_idle(self) -> bool:
        """Return whether nobody uses it and nobody waits for it."""
        return self.state is State.READY and self.in_use == 0 and self.waiting == 0

    @property
    def is_pinned(self) -> bool:
        """Return whether it was asked to stay for ever."""
        return math.isinf(self.target.keep_alive_seconds)

    @property
    def held(self) -> Held:
        """Return the memory that it holds or was promised."""
        private = self.process.private_bytes() if self.process is not None else 0
        return Held(self.need.memory.total_bytes if self.need else 0, private)

    @property
    def expires_at(self) -> float | None:
        """Return the Unix second at which an idle runner goes; None while used, or for ever."""
        if not self.is_idle or self.is_pinned:
            return None
        return self.last_used + self.target.keep_alive_seconds

    def enter(self) -> None:
        """Count one more user, who keeps it from going."""
        self.in_use += 1
        self._cancel_timer()

    def leave(self) -> None:
        """Count one user less; the last one starts the idle time."""
        self.in_use -= 1
        self.touch()

    def touch(self) -> None:
        """Begin the idle time anew, as after a request."""
        self.last_used = time.time()
        self.rest()

    def rest(self) -> None:
        """Start the idle time when nobody uses it."""
        self._cancel_timer()
        if self.is_idle and not self.is_pinned:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self.target.keep_alive_seconds, self._on_idle, self)

    async def stop(self) -> None:
        """End the child, whatever its state; safe to call twice."""
        self._cancel_timer()
        if self.session is not None:
            await self.session.close()
        if self.process is not None:
            await self.process.stop()
        if self.state is not State.FAILED:
            self.state = State.STOPPED

    def _cancel_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
