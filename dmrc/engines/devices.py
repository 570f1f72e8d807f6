"""What an engine says of the graphics cards that it can use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """A graphics card, as one build of an engine sees it at one moment."""

    name: str
    """What the engine calls it, and `x-dmrc: {device: NAME}`: `CUDA0`, `Vulkan0`."""
    description: str
    """What its driver calls it: `NVIDIA H200`."""
    total_bytes: int
    """Memory of the card."""
    free_bytes: int
    """What of that is free, whoever holds the rest."""
    shares_ram: bool = False
    """Whether its memory is the machine's RAM: what is on it is in RAM as well."""
    maps_weights: bool = False
    """Whether weights stay in their mapped file there, which the system goes on calling available, as it does for the
    processor's."""


@dataclass(frozen=True, slots=True)
class DeviceList:
    """What a build answered."""

    devices: tuple[Device, ...] = ()
    """Those with memory; none where it was built without them, or their drivers are missing."""
    failure: str | None = None
    """Why it did not answer: `died: …`, or `no answer in 30 s`; None where it did."""
