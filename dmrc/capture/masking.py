"""What of an exchange may be kept: no credentials, no more bytes than allowed, no content where none is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from dmrc.exchange import Exchange

CaptureLevel = Literal["full", "metadata", "off"]
"""Everything; everything but bodies and their words; nothing."""

REDACTED = "[redacted]"
"""Stands where a credential stood."""

_CREDENTIAL_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "x-goog-api-key"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureLimits:
    """How much is recorded, and how much may wait to be."""

    level: CaptureLevel = "full"
    """For exchanges that bring no level of their own."""
    request_body_bytes: int = 1 << 20
    """Longer request bodies are cut to this."""
    response_body_bytes: int = 4 << 20
    """Longer response bodies are cut to this."""
    queue_exchanges: int = 10_000
    """Exchanges that may wait; the next ones are dropped and counted."""
    queue_bytes: int = 64 << 20
    """Bytes of bodies that may wait; one exchange alone may be longer."""
    batch_exchanges: int = 200
    """Exchanges written in one transaction at most."""
    batch_seconds: float = 0.1
    """How long the first exchange of a batch waits for others: what a killed process can lose."""


def mask_credentials(exchange: Exchange) -> Exchange:
    """Return the exchange without the values of headers that hold credentials."""
    return replace(
        exchange,
        request_headers=_masked(exchange.request_headers),
        response_headers=_masked(exchange.response_headers),
    )


def cut(exchange: Exchange, limits: CaptureLimits) -> Exchange:
    """Return the exchange with bodies no longer than allowed.

    A body that is cut here leaves its true length in the annotations `request_body_bytes`, `response_body_bytes`.
    """
    notes = dict(exchange.annotations)
    request, response = exchange.request_body, exchange.response_body
    request_cut, response_cut = len(request) > limits.request_body_bytes, len(response) > limits.response_body_bytes
    if not request_cut and not response_cut:
        return exchange
    if request_cut:
        notes["request_body_bytes"] = len(request)
    if response_cut:
        notes["response_body_bytes"] = len(response)
    kept = response[: limits.response_body_bytes]
    return replace(
        exchange,
        request_body=request[: limits.request_body_bytes],
        response_body=kept,
        chunk_offsets=tuple(pair for pair in exchange.chunk_offsets if pair[1] < len(kept)),
        request_truncated=exchange.request_truncated or request_cut,
        response_truncated=exchange.response_truncated or response_cut,
        annotations=notes,
    )


def reduced(exchange: Exchange, level: CaptureLevel) -> Exchange:
    """Return the exchange with what the level allows: `metadata` keeps no bodies, `off` no headers either."""
    if level == "full":
        return exchange
    exchange = replace(exchange, request_body=b"", response_body=b"")
    return exchange if level == "metadata" else replace(exchange, request_headers={}, response_headers={})


def bare(exchange: Exchange) -> Exchange:
    """Return the exchange without anything that a caller, an engine or a plugin may have put words into."""
    return replace(reduced(exchange, "off"), error_message=None, session_id=None, user_agent=None, annotations={})


def _masked(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: REDACTED if name.lower() in _CREDENTIAL_HEADERS else value for name, value in headers.items()}
