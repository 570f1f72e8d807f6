"""Callers of one runner who have hung up, until its engine works for them no longer."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from dmrc.engines.engine import Counts

_LONGEST_SECONDS = 120.0  # more than a batch of any model that is of use
# A stream is noticed to have no reader at its next token. Else the engine looks after a second in which nobody was
# answered, and an answer to us is one: so the next looks must be further apart, whoever they are for.
# Source: `recv_with_timeout` in https://github.com/ggml-org/llama.cpp/blob/master/tools/server/server-queue.cpp
_FIRST_LOOK_SECONDS = 0.1
_LOOK_SECONDS = 1.6


class _Runner(Protocol):
    in_use: int

    @property
    def is_alive(self) -> bool: ...

    async def counts(self) -> Counts | None: ...

    async def counts_soon(self) -> Counts | None: ...

    async def notice_death(self) -> None: ...


class HangUps:
    """Slots of a runner that are in use although nobody waits for an answer."""

    def __init__(self, runner: _Runner) -> None:
        self.count = 0
        self._runner = runner
        self._turn = asyncio.Lock()
        self._came = asyncio.Event()
        self._last: Counts | None = None

    async def wait(self) -> None:
        """Take a caller who has hung up, and wait until the engine has let go of one: which of several is all the same.

        Source: llama.cpp looks between two batches whether a caller is there, and not while it answers others.
        """
        self.count += 1
        self._came.set()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_SECONDS), self._turn:
                    await self._look()
        finally:
            self.count -= 1

    async def counts(self) -> Counts | None:
        """Return what the engine counts, None where it does not; what it told last where it must not be put off."""
        if not self.count:
            self._last = await self._runner.counts_soon()
        return self._last

    async def _look(self) -> None:
        """Ask the engine until it works for fewer than have a slot."""
        runner = self._runner
        try:
            while runner.is_alive:
                self._came.clear()
                await asyncio.sleep(_FIRST_LOOK_SECONDS)
                now = await runner.counts()
                if now is None or now.processing < runner.in_use:
                    return
                self._last = now
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._came.wait(), _LOOK_SECONDS - _FIRST_LOOK_SECONDS)
        except ConnectionError:
            await runner.notice_death()
