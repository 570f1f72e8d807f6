"""What a model could have of the memory there is, the best first.

All of it on one card goes before all of it on several, with as many slots as fit there; then as much of it as fits on
cards and the rest in RAM; and where there is no card, or none is wanted, RAM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dmrc.engines.engine import Engine, MemoryEstimate
from dmrc.engines.placement import ALL, SPARE_BYTES, DeviceShare, DeviceWish, Placement
from dmrc.errors import InputError, UnsupportedError
from dmrc.gguf import format_size
from dmrc.scheduler.room import FreeCard, Room
from dmrc.scheduler.target import Target

_SLOTS_TO_TRY = (4, 2, 1)


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """What a runner would take with a number of slots."""

    parallel: int
    """Slots."""
    memory: MemoryEstimate
    """Bytes by part."""
    placement: Placement | None = None
    """Where it is computed; None where its engine lists no cards."""
    is_split: bool = False
    """Whether the processor computes what a card could, for want of room there."""

    @property
    def cards(self) -> dict[str, int]:
        """Return what is reserved of each card, by its name."""
        return {share.device.name: share.reserved_bytes for share in self.placement.shares} if self.placement else {}

    @property
    def shared_bytes(self) -> int:
        """Return what of RAM it takes as memory of cards that have none of their own."""
        shares = [share for share in self.placement.shares if share.device.shares_ram] if self.placement else []
        # Of a model that the engine divides, all that is free of a card is reserved until it is loaded.
        most_bytes = self.memory.device_bytes + len(shares) * SPARE_BYTES
        return min(most_bytes, sum(share.reserved_bytes for share in shares))

    @property
    def unavailable_bytes(self) -> int:
        """Return what of `shared_bytes` the system no longer calls available once it is loaded."""
        maps_weights = self.placement is not None and any(share.device.maps_weights for share in self.placement.shares)
        return 0 if maps_weights else self.shared_bytes

    @property
    def bare_bytes(self) -> int:
        """Return what it takes of RAM without the prompt cache."""
        return self.memory.bare_bytes + self.shared_bytes

    @property
    def ram_bytes(self) -> int:
        """Return what it takes of RAM."""
        return self.memory.total_bytes + self.shared_bytes

    @property
    def card_share(self) -> float:
        """Return how much of what a card could hold is on cards, from 0 to 1."""
        movable = self.memory.movable_bytes
        return min(1.0, self.memory.device_bytes / movable) if movable else 0.0

    def notice(self, name: str) -> str | None:
        """Return what the users of a model should know of it: that the processor computes what a card could."""
        if not self.is_split:
            return None
        movable, on_cards = format_size(self.memory.movable_bytes), format_size(self.memory.device_bytes)
        if not self.cards:
            return f"model '{name}' is computed by the processor: no graphics card has room for a part of its {movable}"
        where = " and ".join(self.cards)
        return f"model '{name}' is computed in part by the processor: {on_cards} of its {movable} fit on {where}"

    def is_as_good_as(self, other: MemoryNeed) -> bool:
        """Return whether it has no fewer slots than another one, and no less of it is on cards."""
        return self.parallel >= other.parallel and self.memory.device_bytes >= other.memory.device_bytes

    def corrected(self, taken: Mapping[str, int]) -> MemoryNeed:
        """Return the need with what its engine says that it really took of each card."""
        if self.placement is None or not any(share.device.name in taken for share in self.placement.shares):
            return self
        shares = tuple(
            replace(share, reserved_bytes=taken.get(share.device.name, 0) + SPARE_BYTES)
            for share in self.placement.shares
        )
        device_bytes = sum(share.reserved_bytes - SPARE_BYTES for share in shares)
        device_bytes = min(device_bytes, self.memory.everywhere_bytes)
        had_all = self.memory.device_bytes == self.memory.movable_bytes
        movable_bytes = device_bytes if had_all else self.memory.movable_bytes
        memory = replace(self.memory, device_bytes=device_bytes, movable_bytes=movable_bytes)
        is_split = self.is_split and device_bytes < movable_bytes
        return replace(self, memory=memory, placement=replace(self.placement, shares=shares), is_split=is_split)


def needs(engine: Engine, target: Target) -> list[MemoryNeed]:
    """Return the needs of a target in RAM, the most slots first; none where its engine counts no memory."""
    estimates = ((count, engine.estimate(target.model, target.options, count)) for count in _slots(engine, target))
    return [MemoryNeed(count, memory) for count, memory in estimates if memory is not None]


def best_fit(engine: Engine, target: Target, room: Room, *, is_whole: bool = False) -> MemoryNeed | None:
    """Return the best need that fits, with no prompt cache but the project's own; or None.

    With `is_whole` none that is split.

    Raises:
        InputError: The project names a card that is not there.
        UnsupportedError: It requires a card, and there is none.
    """
    fitting = (need for need in ranked(engine, target, room) if need.ram_bytes <= room.ram_bytes)
    return next((need for need in fitting if not (is_whole and need.is_split)), None)


def ranked(engine: Engine, target: Target, room: Room) -> Iterator[MemoryNeed]:
    """Yield the needs for which cards have room, the best first."""
    wish = engine.device_wish(target.options)
    cards = usable(engine, target, room.cards)
    if not cards:
        # An engine that cannot list its cards now may find them when it loads.
        told = Placement() if room.cards or wish.names == () else None
        yield from (replace(need, placement=told) for need in needs(engine, target))
        return
    for count in _slots(engine, target):
        memory = engine.estimate(target.model, target.options, count, ALL)
        if memory is not None and (placement := _whole(memory, cards, wish)) is not None:
            yield MemoryNeed(count, memory, placement)
    if wish.is_whole:
        return
    alike = _alike(cards)
    card_bytes = sum(max(0, card.free_bytes - SPARE_BYTES) for card in alike)
    for count in _slots(engine, target):
        memory = engine.estimate(target.model, target.options, count, card_bytes)
        if memory is None or not memory.device_bytes:
            memory, placement = _in_ram(engine, target, count), Placement()
        else:
            placement = Placement(_all_of(alike), is_divided=True)
        if memory is not None:
            yield MemoryNeed(count, memory, placement, is_split=True)


def _in_ram(engine: Engine, target: Target, parallel: int) -> MemoryEstimate | None:
    """Return the estimate in RAM of what a card could hold."""
    memory, on_card = (engine.estimate(target.model, target.options, parallel, size) for size in (0, ALL))
    return memory and replace(memory, movable_bytes=on_card.movable_bytes if on_card else 0)


def usable(engine: Engine, target: Target, cards: Sequence[FreeCard]) -> list[FreeCard]:
    """Return the cards that a target may use, the one with the most room first; see `best_fit`."""
    wish = engine.device_wish(target.options)
    if wish.names == ():
        return []
    is_required = target.options.gpu == "required"  # flags for cards are of no effect where there are none
    if not cards and (wish.names is not None or is_required):
        wanted = f"device {','.join(wish.names)}" if wish.names is not None else "gpu: required"
        raise UnsupportedError(
            f"model '{target.reference}' asks for {wanted}, and engine {engine.name} finds no graphics card",
            remedy="Look what it finds: dmrc doctor",
        )
    by_name = {card.device.name.casefold(): card for card in cards}
    for name in wish.names or ():
        if name.casefold() not in by_name:
            known = ", ".join(f"{card}, {format_size(card.device.total_bytes)}" for card in cards)
            raise InputError(
                f"model '{target.reference}' asks for device '{name}', and engine {engine.name} has {known}",
                remedy="Name one of these, or auto, or cpu",
            )
    # As llama.cpp does, those that share the machine's RAM only where there are no others, unless they are named.
    unnamed = [card for card in cards if not card.device.shares_ram] or list(cards)
    found = unnamed if wish.names is None else [by_name[name.casefold()] for name in wish.names]
    return found if wish.ratios is not None else sorted(found, key=lambda card: -card.free_bytes)


def _whole(memory: MemoryEstimate, cards: Sequence[FreeCard], wish: DeviceWish) -> Placement | None:
    """Return a placement of all that a card can hold; None where there is no room for it."""
    if not memory.device_bytes:
        return Placement()
    if wish.ratios is not None:
        shares = shared_out(memory.device_bytes, cards, wish.ratios)
        fits = all(share.reserved_bytes <= card.free_bytes for share, card in zip(shares, cards, strict=True))
        return Placement(shares) if fits else None
    if memory.device_bytes + SPARE_BYTES <= cards[0].free_bytes:
        return Placement((DeviceShare(cards[0].device, memory.device_bytes + SPARE_BYTES),))
    alike = _alike(cards)
    # Each card has a buffer to compute in of its own.
    wanted = memory.device_bytes + (len(alike) - 1) * memory.compute_bytes + len(alike) * SPARE_BYTES
    if len(alike) > 1 and wanted <= sum(card.free_bytes for card in alike):
        return Placement(_all_of(alike), is_divided=True)
    return None


def shared_out(device_bytes: int, cards: Sequence[FreeCard], ratios: Sequence[float]) -> tuple[DeviceShare, ...]:
    """Return the shares of all cards, by the ratios that the engine was told, or by what is free."""
    weights = [*ratios, *(0.0 for _ in cards)][: len(cards)] if ratios else [float(card.free_bytes) for card in cards]
    whole = sum(weights) or 1.0
    return tuple(
        DeviceShare(card.device, round(device_bytes * weight / whole) + (SPARE_BYTES if weight else 0))
        for card, weight in zip(cards, weights, strict=True)
    )


def _all_of(cards: Sequence[FreeCard]) -> tuple[DeviceShare, ...]:
    return tuple(DeviceShare(card.device, card.free_bytes) for card in cards)


def _alike(cards: Sequence[FreeCard]) -> list[FreeCard]:
    """Return the cards of one kind that have room: one that two drivers show has two names, `CUDA0` and `Vulkan0`."""
    kind = cards[0].device.name.rstrip("0123456789")
    alike = [card for card in cards if card.device.name.rstrip("0123456789") == kind]
    return [card for card in alike if card.free_bytes > SPARE_BYTES] or alike[:1]


def _slots(engine: Engine, target: Target) -> list[int]:
    """Return how many slots to try, the most first."""
    asked = engine.asked_parallel(target.options)
    wanted = (asked,) if asked else _SLOTS_TO_TRY
    return list(dict.fromkeys(min(count, engine.largest_parallel or count) for count in wanted))
