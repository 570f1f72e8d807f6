"""The memory that runners may have, and the decision whether one more fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import psutil

from dmrc.engines.devices import Device
from dmrc.engines.engine import Engine, MemoryEstimate
from dmrc.engines.placement import ALL, SPARE_BYTES
from dmrc.errors import InsufficientMemoryError
from dmrc.gguf import format_size
from dmrc.scheduler.fitting import MemoryNeed, needs, ranked, usable
from dmrc.scheduler.free_memory import FreeMemory
from dmrc.scheduler.room import FreeCard, Reading, Room
from dmrc.scheduler.target import Target

_GIB = 1 << 30
_LARGEST_PROMPT_CACHE_BYTES = 8 * _GIB  # llama.cpp's own default


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What a living runner holds, or was promised."""

    estimated_bytes: int
    """RAM by the estimate; of its prompt cache, what is filled."""
    private_bytes: int
    """What it takes of RAM already, and the system therefore no longer calls available."""
    unfilled_bytes: int = 0
    """What its prompt cache may still grow by. Others may have it, and it then starts anew with a smaller one."""
    cards: Mapping[str, int] = field(default_factory=dict)
    """Memory of cards, by their names."""
    since: float = math.inf
    """When it had taken that of the cards, on the monotonic clock; inf while it loads."""

    @classmethod
    def of(cls, need: MemoryNeed, resident_bytes: int, private_bytes: int, since: float = math.inf) -> MemoryUse:
        """Return what a runner holds whose process has so much in memory."""
        cache = need.memory.prompt_cache_bytes
        filled = min(cache, max(0, resident_bytes - need.memory.bare_bytes))
        return cls(need.bare_bytes + filled, private_bytes, cache - filled, need.cards, since)

    def on(self, card: str) -> int:
        """Return what it holds of one card."""
        return self.cards.get(card, 0)


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

    def total(self) -> int:
        """Return the RAM that runners may have at most: the limit of the settings, or all of the machine."""
        return int(psutil.virtual_memory().total) if self._limit_bytes is None else self._limit_bytes

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

    def room(self, held: Iterable[MemoryUse], going: Iterable[MemoryUse], reading: Reading) -> Room:
        """Return what is free of everything, as `available` does for RAM."""
        held, going = list(held), list(going)
        cards = (free_card(device, reading.asked_at, held, going) for device in reading.devices)
        return Room(self.available(held, going), tuple(cards))

    def refuse(self, engine: Engine, target: Target, room: Room) -> InsufficientMemoryError:
        """Return the error that names what is scarce, its numbers, and what would fit."""
        smallest = next(reversed([*ranked(engine, target, room)]), None)
        fewest = needs(engine, target)[-1]
        card = None if smallest is not None else next(iter(usable(engine, target, room.cards)), None)
        memory = (smallest or fewest).memory
        if card is not None:
            memory = engine.estimate(target.model, target.options, fewest.parallel, ALL) or memory
        largest = engine.largest_context(
            target.model,
            target.options,
            fewest.parallel,
            room.ram_bytes,
            None if card is None else card.free_bytes - SPARE_BYTES,
        )
        if largest is None:
            remedy = "Choose a smaller model or quantisation, or unload others: dmrc ps"
        else:
            remedy = f"A context_size of {largest} would fit. Set it, or unload others: dmrc ps"
        needed = _of_ram(memory, smallest, room) if card is None else _of_card(memory, card)
        return InsufficientMemoryError(
            f"model '{target.reference}' with context_size {target.context_size} needs {needed}", remedy=remedy
        )


def free_card(device: Device, asked_at: float, held: Sequence[MemoryUse], going: Sequence[MemoryUse]) -> FreeCard:
    """Return what of a card is free beside those that are `held`, once the `going` ones have gone.

    The driver knows of all programs, and does not know of runners that had not loaded yet when it was asked. One that
    computes in RAM calls everything free, whoever uses it: so there is never more than what our own runners leave.
    """
    name = device.name
    promised = sum(use.on(name) for use in held if use.since > asked_at)
    returning = sum(use.on(name) for use in going)
    left = device.total_bytes - sum(use.on(name) for use in held)
    return FreeCard(device, max(0, min(left, device.free_bytes - promised + returning)))


def _of_ram(memory: MemoryEstimate, need: MemoryNeed | None, room: Room) -> str:
    """Return what is needed of RAM, and what is free of it, as an error says it."""
    free = f"and {format_size(max(0, room.ram_bytes))} is free"
    if need is not None and need.cards:
        on_cards = f"{format_size(memory.device_bytes)} on {' and '.join(need.cards)}"
        if need.shared_bytes:
            return f"{format_size(need.ram_bytes)} of RAM with {on_cards}, {free}"
        return f"{format_size(memory.total_bytes)} of RAM beside {on_cards}, {free}"
    return (
        f"{format_size(memory.total_bytes)} (weights {format_size(memory.weights_bytes)}, "
        f"context {format_size(memory.kv_bytes)}, "
        f"buffers {format_size(memory.total_bytes - memory.weights_bytes - memory.kv_bytes)}), {free}"
    )


def _of_card(memory: MemoryEstimate, card: FreeCard) -> str:
    """Return what is needed of a card, and what is free of it, as an error says it."""
    free = f"{format_size(card.free_bytes)} of its {format_size(card.device.total_bytes)} are free"
    return f"{format_size(memory.device_bytes + SPARE_BYTES)} on {card}, and {free}"


def with_prompt_cache(need: MemoryNeed, engine: Engine, target: Target, free_bytes: int) -> MemoryNeed:
    """Return a need with memory for earlier prompts, out of what is free for all and promised to nobody.

    It is half of what the runner itself leaves, and at least as much as the contexts of its slots, if another runner
    of its size still has room then. At most 8 GiB.
    """
    if not engine.keeps_prompts(target.model, target.options):
        return need
    memory = need.memory
    left = free_bytes - need.bare_bytes
    size = max(left // 2, min(memory.kv_bytes, left - need.bare_bytes), 0)
    return replace(need, memory=replace(memory, prompt_cache_bytes=min(size, _LARGEST_PROMPT_CACHE_BYTES)))


def with_less_prompt_cache(need: MemoryNeed, most_bytes: int) -> MemoryNeed:
    """Return a need whose prompt cache has at most so many bytes."""
    size = min(need.memory.prompt_cache_bytes, most_bytes)
    return replace(need, memory=replace(need.memory, prompt_cache_bytes=size))
