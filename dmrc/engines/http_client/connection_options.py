"""How a connection of the HTTP client waits, and rests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """How long a server is waited for, and how it keeps its connections."""

    silence_seconds: float | None = None
    """How long nothing may come of an answer that is waited for; None is any time."""
    rest_seconds: float | None = None
    """How long a connection is kept between two requests; None is until the server ends it."""
    keeps_after_streams: bool = True
    """Whether the connection can be used again after an answer whose length was not told before."""
