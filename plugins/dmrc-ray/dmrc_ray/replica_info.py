"""One replica, as it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaInfo:
    """One replica as it tells of itself."""

    name: str
    """Serve's name of it, which no other one has."""
    node: str
    """Name of its node."""
    state: str
    """`starting` or `ready`."""
    detail: str = ""
    """What it does while it starts."""
    slots: int = 0
    """Requests at the same time."""
    host: str = ""
    """Address of its llama.cpp server and of its control port."""
    port: int = 0
    """Port of its server."""
    control_port: int = 0
    """Port for control connections."""
    key: str = field(default="", repr=False)
    """The secret that both want."""
