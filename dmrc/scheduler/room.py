"""Where memory is free: RAM, and the cards of an engine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.engines.devices import Device


@dataclass(frozen=True, slots=True)
class Reading:
    """What an engine said of its cards at one moment."""

    devices: Sequence[Device] = ()
    """Those that it can use; none where it lists none."""
    asked_at: float = -math.inf
    """When it began to be asked, on the monotonic clock."""


@dataclass(frozen=True, slots=True)
class FreeCard:
    """A card with what of it a runner may take."""

    device: Device
    """As it was when it was asked last."""
    free_bytes: int
    """What nobody holds and nobody was promised."""

    def __str__(self) -> str:
        """Return how messages call it: `Vulkan0 (llvmpipe)`."""
        return f"{self.device.name} ({self.device.description})"


@dataclass(frozen=True, slots=True)
class Room:
    """The memory that a runner may take."""

    ram_bytes: int
    """RAM."""
    cards: tuple[FreeCard, ...] = ()
    """The cards of its engine."""

    def least(self, other: Room) -> Room:
        """Return what both have of everything; both are of the same cards."""
        cards = (min(pair, key=lambda card: card.free_bytes) for pair in zip(self.cards, other.cards, strict=True))
        return Room(min(self.ram_bytes, other.ram_bytes), tuple(cards))
