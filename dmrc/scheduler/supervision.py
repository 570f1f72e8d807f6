"""Looks now and then whether a child does what it was asked to do, and nothing else.

A chat template travels inside a model's file, is a program, and may have no end: it then takes a core and all memory,
also when whoever asked has gone. llama.cpp sets it no limit.
"""

from __future__ import annotations

import asyncio
import time

from dmrc.background import beside
from dmrc.engines.process import EngineProcess
from dmrc.gguf import format_size
from dmrc.scheduler.fitting import MemoryNeed
from dmrc.scheduler.runner import ManagedRunner

LOOK_SECONDS = 3.0
"""How often."""

BUSY_SECONDS = 20.0
"""Seconds of one core that a child may take on end while no request is in flight.

What was begun for a caller who went away ends sooner.
"""

_BUSY_SHARE = 0.1  # of one core: others may want them all
_GIB = 1 << 30


def most_bytes(need: MemoryNeed, served: int, loaded_bytes: int = 0) -> int:
    """Return what a child that was asked so often may take of RAM that is its own: far more than its estimate.

    A prompt cache grows by the context of one slot a request, and by as much again for its checkpoints at most. What it
    had when it was loaded was no request's doing: the memory of some cards is RAM, and counts as the child's own.
    """
    memory = need.memory
    cached = min(memory.prompt_cache_bytes, 2 * served * memory.kv_bytes // need.parallel)
    return max(memory.bare_bytes * 3 // 2, loaded_bytes) + cached + _GIB


class Supervision:
    """Of one runner with a child."""

    def __init__(self, runner: ManagedRunner, process: EngineProcess) -> None:
        """Begin now, with the child that the runner has."""
        self._runner = runner
        self._process = process
        self._looked_at = time.monotonic()
        self._processor_seconds = self._usage()[0]
        self._busy_seconds = 0.0

    async def until_end(self) -> str:
        """Wait until the child has ended, or must be ended; return why, as a clause about the engine."""
        name = self._runner.target.reference
        with beside(self._process.wait_exit(), "the wait for the end of an engine") as end:
            while not (await asyncio.wait({end}, timeout=LOOK_SECONDS))[0]:
                if (reason := self.look()) is not None:
                    self._runner.failure = f"the engine of model '{name}' was ended: {reason}"
                    await self._process.stop(grace_seconds=0)
                    return self._runner.failure
        return f"the engine of model '{name}' died ({self._process.last_words()})"

    def look(self) -> str | None:
        """Return why the child must end, as a clause about it; None when it need not.

        One that has replicas computes nothing itself: what it does without a request is to look after them.
        """
        if self._runner.replicas is not None:
            return None
        now, (processor_seconds, own_bytes) = time.monotonic(), self._usage()
        elapsed, used = now - self._looked_at, processor_seconds - self._processor_seconds
        was_asked = self._runner.in_use > self._runner.hang_ups.count or self._runner.idle_since > self._looked_at
        is_astray = not was_asked and used > _BUSY_SHARE * elapsed
        # Not more than one core's: what is left of a prompt has many, and is soon done.
        self._busy_seconds = self._busy_seconds + min(used, elapsed) if is_astray else 0.0
        self._looked_at, self._processor_seconds = now, processor_seconds
        need = self._runner.need
        if need is not None and own_bytes > most_bytes(need, self._runner.served, self._runner.loaded_bytes[1]):
            estimated = format_size(need.memory.bare_bytes)
            return f"it took {format_size(own_bytes)} of memory, and by the estimate it takes {estimated}"
        if self._busy_seconds >= BUSY_SECONDS:
            return f"it kept the processor busy for {self._busy_seconds:.0f} s without a request"
        return None

    def _usage(self) -> tuple[float, int]:
        return self._process.usage()
