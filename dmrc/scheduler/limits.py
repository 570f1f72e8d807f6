"""How long and how many may wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of waiting, each with its default."""

    queue: int = 256
    """Requests that may wait for one model; the next one gets 503."""
    window_seconds: float = 10.0
    """How long a model that has loaded goes on while another waits for its memory, and requests for both come."""
    longest_window_seconds: float = 60.0
    """The window is as long as the load of the model took, where that is more, and never longer than this."""
    linger_seconds: float = 0.05
    """How long a model whose last answer has just ended is taken for busy: its client may be about to ask again."""
    room_seconds: float = 300.0
    """How long a model waits for memory that others use before its requests are refused."""
