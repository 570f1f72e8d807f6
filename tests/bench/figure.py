"""What a benchmark returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number, beside the bar that it must hold."""

    name: str
    """What was measured: `pull of 1 GiB against skopeo copy`."""
    value: float
    """The ratio or the difference, the median of its runs."""
    unit: str
    """`×`, `ms`, `µs`, `MiB`, `%`."""
    bar: float | None = None
    """What it must reach; None where it is only told."""
    better: Literal["lower", "higher"] = "lower"
    """On which side of the bar it should be."""
    ours: str = ""
    """The plain measurement behind it: `0.41 s`."""
    theirs: str = ""
    """That of the peer: `0.89 s (skopeo 1.9.3)`."""
    runs: int = 1
    """How many pairs the median is of."""

    @property
    def is_met(self) -> bool:
        """Return whether the bar is held; a figure without one always is."""
        if self.bar is None:
            return True
        return self.value <= self.bar if self.better == "lower" else self.value >= self.bar


Benchmark = Callable[[], list[Figure]]
"""A function `measure` of a module of this package. It starts what it needs and stops it, on free ports."""


class LeftOut(Exception):
    """Raised by `measure` when a peer or a tool is not on this machine; says which."""
