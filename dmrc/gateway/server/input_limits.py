"""What may come on a connection before a request of it is admitted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InputLimits:
    """What a caller may send before its request is admitted, and how slowly."""

    url_bytes: int = 16 << 10
    """Of the request line's URL; more is 414."""
    head_bytes: int = 64 << 10
    """Of request line and headers; more is 431. So much may stand around the parts of a chunked body, too."""
    headers: int = 128
    """Headers, and fields after a chunked body; more is 431."""
    head_seconds: float = 20.0
    """For the whole head, since the connection was made or the head began; then 408."""
    body_seconds: float = 30.0
    """In so much time `body_bytes` of a body must come, while the gateway reads; else 408."""
    body_bytes: int = 1024
    """See `body_seconds`."""
    handshake_seconds: float = 10.0
    """For a TLS handshake, since the connection was made."""
