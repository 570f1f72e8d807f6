"""The memory that runners may have, and the decision whether one more fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from dmrc.engines.engine import Engine, MemoryEstimate
from dmrc.errors import InsufficientMemoryError
from dmrc.gguf import format_size
from dmrc.scheduler.free_memory import FreeMemory
from dmrc.scheduler.target import Target

_SLOTS_TO_TRY = (4, 2, 1)
_GIB = 1 << 30
_LARGEST_PROMPT_CACHE_BYTES = 8 * _GIB  # llama.cpp's own default


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """What a runner would take with a number of slots."""

    parallel: int
    """Slots."""
    memory: MemoryEstimate
    """Bytes by part."""


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What a living runner holds."""

    estimated_bytes: int
    """What it takes, by the estimate; of its prompt cache, what is filled."""
    private_bytes: int
    """What it takes already and the system therefore no longer calls available."""
    unfilled_bytes: int = 0
    """What its prompt cache may still grow by. Others may have it, and it then starts anew with a smaller one."""

    @classmethod
    def of(cls, need: MemoryNeed, resident_bytes: int, private_bytes: int) -> MemoryUse:
        """Return what a runner holds whose process has so much in memory."""
        bare, cache = need.memory.bare_bytes, need.memory.prompt_cache_bytes
        filled = min(cache, max(0, resident_bytes - bare))
        return cls(bare + filled, private_bytes, cache - filled)


class Budget:
    """Memory for all runners together: a limit, or what the system has."""

    def __init__(
        self,
        limit_bytes: int | None = None,
        system_available: Callable[[], int] | None = None,
    ) -> None:
        """Take the limit of the settings; None asks the system each time, which is `FreeMemory` by default."""
        self._limit_bytes = limit_bytes
        self._system_available = system_available or FreeMemory()

    def available(self, held: Iterable[MemoryUse], going: Iterable[MemoryUse] = ()) -> int:
        """Return the bytes that a new runner may take beside those that are `held`, once the `going` ones have gone.

        A model's weights are mapped from its file, so the system goes on calling them available after they are
        loaded: what a runner was estimated to take and does not hold privately is therefore taken off.
        """
        runners = list(held)
        if self._limit_bytes is not None:
            return self._limit_bytes - sum(runner.estimated_bytes for runner in runners)
        promised = sum(max(0, runner.estimated_bytes - runner.private_bytes) for runner in runners)
        return self._system_available() + sum(runner.private_bytes for runner in going) - promised

    def fit(self, engine: Engine, target: Target, available_bytes: int) -> MemoryNeed | None:
        """Return the need with the most slots that fits, with no prompt cache but the project's own; or None."""
        return next((need for need in needs(engine, target) if need.memory.total_bytes <= available_bytes), None)

    def refuse(self, engine: Engine, target: Target, available_bytes: int) -> InsufficientMemoryError:
        """Return the error that names the numbers, and what would fit."""
        need = needs(engine, target)[-1]
        largest = engine.largest_context(target.model, target.options, need.parallel, available_bytes)
        memory = need.memory
        if largest is None:
            remedy = "Choose a smaller model or quantisation, or unload others: dmrc ps"
        else:
            remedy = f"A context_size of {largest} would fit. Set it, or unload others: dmrc ps"
        return InsufficientMemoryError(
            f"model '{target.reference}' with context_size {target.context_size} needs "
            f"{format_size(memory.total_bytes)} (weights {format_size(memory.weights_bytes)}, "
            f"context {format_size(memory.kv_bytes)}, "
            f"buffers {format_size(memory.total_bytes - memory.weights_bytes - memory.kv_bytes)}), "
            f"and {format_size(max(0, available_bytes))} is free",
            remedy=remedy,
        )


def with_prompt_cache(need: MemoryNeed, engine: Engine, target: Target, free_bytes: int) -> MemoryNeed:
    """Return a need with memory for earlier prompts, out of what is free for all and promised to nobody.

    It is half of what the runner itself leaves, and at least as much as the contexts of its slots, if another runner
    of its size still has room then. At most 8 GiB.
    """
    if not engine.keeps_prompts(target.model, target.options):
        return need
    memory = need.memory
    left = free_bytes - memory.bare_bytes
    size = max(left // 2, min(memory.kv_bytes, left - memory.bare_bytes), 0)
    return replace(need, memory=replace(memory, prompt_cache_bytes=min(size, _LARGEST_PROMPT_CACHE_BYTES)))


def with_less_prompt_cache(need: MemoryNeed, most_bytes: int) -> MemoryNeed:
    """Return a need whose prompt cache has at most so many bytes."""
    size = min(need.memory.prompt_cache_bytes, most_bytes)
    return replace(need, memory=replace(need.memory, prompt_cache_bytes=size))


def needs(engine: Engine, target: Target) -> list[MemoryNeed]:
    """Return the needs of a target, the one with the most slots first; none where its engine counts no memory."""
    asked = engine.asked_parallel(target.options)
    wanted = (asked,) if asked else _SLOTS_TO_TRY
    slots = dict.fromkeys(min(count, engine.largest_parallel or count) for count in wanted)
    estimates = ((count, engine.estimate(target.model, target.options, count)) for count in slots)
    return [MemoryNeed(count, memory) for count, memory in estimates if memory is not None]
