"""Where runners are in their lives, and why they end."""

from __future__ import annotations

import enum
from typing import Literal


class RunnerState(enum.StrEnum):
    """Where a runner is in its life."""

    WAITING = "waiting"
    """For memory; it holds none yet."""
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    """It ends when those who use it have finished."""
    STOPPED = "stopped"
    FAILED = "failed"


StopReason = Literal["idle", "evicted", "unloaded", "died", "shutdown"]
"""Why a runner that answered has ended: nobody used it, another needed its memory, somebody asked for it, …"""
