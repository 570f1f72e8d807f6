"""The memory that runners may have, and the decision whether one more fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dmrc.engines.flags import parallel
from dmrc.engines.memory import MemoryEstimate, estimate, largest_context
from dmrc.errors import InsufficientMemoryError
from dmrc.scheduler.free_memory import FreeMemory
from dmrc.scheduler.target import Target

_SLOTS_TO_TRY = (4, 2, 1)
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Need:
    """What a runner would take with a number of slots."""

    parallel: int
    """Slots."""
    memory: MemoryEstimate
    """Bytes by part."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a living runner holds."""

    estimated_bytes: int
    """What it was estimated to take."""
    private_bytes: int
    """What it takes already and the system therefore no longer calls available."""


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

    def available(self, held: Iterable[Held], going: Iterable[Held] = ()) -> int:
        """Return the bytes that a new runner may take beside those that are `held`, once the `going` ones have gone.

        A model's weights are mapped from its file, so the system goes on calling them available after they are
        loaded: what a runner was estimated to take and does not hold privately is therefore taken off.
        """
        runners = list(held)
        if self._limit_bytes is not None:
            return self._limit_bytes - sum(runner.estimated_bytes for runner in runners)
        promised = sum(max(0, runner.estimated_bytes - runner.private_bytes) for runner in runners)
        return self._system_available() + sum(runner.private_bytes for runner in going) - promised

    def fit(self, target: Target, available_bytes: int, largest_parallel: int | None = None) -> Need | None:
        """Return the need with the most slots that fits, or None."""
        return next(
            (need for need in needs(target, largest_parallel) if need.memory.total_bytes <= available_bytes), None
        )

    def refuse(
        self, target: Target, available_bytes: int, largest_parallel: int | None = None
    ) -> InsufficientMemoryError:
        """Return the error that names the numbers, and what would fit."""
        need = needs(target, largest_parallel)[-1]
        flags = target.configuration.runtime_flags
        largest = largest_context(target.facts, available_bytes, need.parallel, flags, target.companions)
        memory = need.memory
        if largest is None:
            remedy = "Choose a smaller model or quantisation, or unload others: dmrc ps"
        else:
            remedy = f"A context_size of {largest} would fit. Set it, or unload others: dmrc ps"
        return InsufficientMemoryError(
            f"model '{target.reference}' with context_size {target.context_size} needs {_gib(memory.total_bytes)} "
            f"(weights {_gib(memory.weights_bytes)}, context {_gib(memory.kv_bytes)}, "
            f"buffers {_gib(memory.total_bytes - memory.weights_bytes - memory.kv_bytes)}), "
            f"and {_gib(max(0, available_bytes))} is free",
            remedy=remedy,
        )


def needs(target: Target, largest_parallel: int | None = None) -> list[Need]:
    """Return the needs of a target, the one with the most slots first; `largest_parallel` is the engine's bound."""
    configuration = target.configuration
    asked = configuration.parallel or parallel(configuration.runtime_flags)
    wanted = (asked,) if asked else _SLOTS_TO_TRY
    slots = dict.fromkeys(min(count, largest_parallel or count) for count in wanted)
    return [
        Need(
            count,
            estimate(target.facts, target.context_size, count, configuration.runtime_flags, target.companions),
        )
        for count in slots
    ]


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.2f} GiB"
