"""Where a model is computed: on which graphics cards, and how much of their memory it may take."""

from __future__ import annotations

from dataclasses import dataclass

from dmrc.engines.devices import Device
from dmrc.errors import InputError
from dmrc.project import ServingOptions

ALL = 1 << 62
"""More bytes than any card has: for an estimate with all on cards that can be there."""

SPARE_BYTES = 128 << 20
"""What a runner may take of a card beside the buffers that are counted: its driver, and libraries of mathematics."""


@dataclass(frozen=True, slots=True)
class DeviceShare:
    """What a runner may take of one card."""

    device: Device
    """The card, as it was when it was asked last."""
    reserved_bytes: int
    """Memory of the card, `SPARE_BYTES` included."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a runner's model is computed."""

    shares: tuple[DeviceShare, ...] = ()
    """The cards; without any it is the processor."""
    is_divided: bool = False
    """Whether the engine divides the model by what the shares allow, and keeps the rest in RAM; else all of it is on
    the one card."""

    @property
    def device_bytes(self) -> int:
        """Return what is reserved of all cards."""
        return sum(share.reserved_bytes for share in self.shares)


@dataclass(frozen=True, slots=True)
class DeviceWish:
    """What the project says of the cards: by `x-dmrc: {device, gpu}`, or by flags of the engine."""

    names: tuple[str, ...] | None = None
    """Only these; none is the processor. None leaves it to dmrc."""
    is_whole: bool = False
    """Whether no part of it may be in RAM that a card could hold."""
    ratios: tuple[float, ...] | None = None
    """How the engine was told to share it among all cards, in their order; without any, by what is free of each. None:
    dmrc may choose one."""

    @classmethod
    def of(cls, options: ServingOptions) -> DeviceWish:
        """Return what `x-dmrc: {device, gpu}` say.

        Raises:
            InputError: They contradict each other.
        """
        names = None if options.device in (None, "auto") else (options.device,)
        if names == ("cpu",) and options.gpu == "required":
            raise InputError("device: cpu and gpu: required contradict each other", remedy="Leave one of them out")
        return cls(names=() if names == ("cpu",) else names, is_whole=options.gpu == "required")
