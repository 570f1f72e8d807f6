"""What a check of `dmrc doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """What was found in one place."""

    name: str
    """The place."""
    state: Literal["ok", "warning", "problem"]
    """A warning keeps a part of dmrc from working, a problem all of it."""
    message: str
    """What was found."""
    remedy: str | None = None
    """What to do; None where there is nothing to do."""
