"""What of an exchange may be kept: no credentials, no more bytes than allowed, no content where none is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.media import without_media
from dmrc.capture.redaction import Redactor
from dmrc.capture.replacing import REDACTED
from dmrc.exchange import Exchange, changed
from dmrc.secret_names import is_secret_name
from dmrc.settings import CaptureLevel, Settings

# A secret may be split over the events of a stream, each of which is some hundred bytes long.
_SLACK_BYTES = 64 << 10


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
    keeps_media: bool = False
    """Whether pictures and sounds of requests are kept; else only what they are, how large, and their hash."""
    batch_seconds: float = 0.1
    """How long the first exchange of a batch waits for others: what a killed process can lose."""


def capture_limits(settings: Settings) -> CaptureLimits:
    """Return the limits that the environment leaves to people."""
    return CaptureLimits(keeps_media=settings.capture_media)


def mask_credentials(exchange: Exchange) -> Exchange:
    """Return the exchange without the values of headers that hold credentials."""
    return changed(exchange, headers_without_credentials(exchange))


def headers_without_credentials(exchange: Exchange) -> dict[str, Any]:
    """Return the headers of the exchange, by the names of their fields, without the values that are credentials."""
    return {name: _masked(getattr(exchange, name)) for name in ("request_headers", "response_headers")}


def cut(exchange: Exchange, limits: CaptureLimits, *, slack: int = 0) -> Exchange:
    """Return the exchange with bodies no longer than allowed, and `slack` bytes.

    A body that is cut here leaves its true length in the annotations `request_body_bytes`, `response_body_bytes`.
    """
    notes = dict(exchange.annotations)
    request, response = exchange.request_body, exchange.response_body
    request_limit, response_limit = limits.request_body_bytes + slack, limits.response_body_bytes + slack
    request_cut, response_cut = len(request) > request_limit, len(response) > response_limit
    if not request_cut and not response_cut:
        return exchange
    if request_cut:
        notes.setdefault("request_body_bytes", len(request))
    if response_cut:
        notes.setdefault("response_body_bytes", len(response))
    kept = response[:response_limit]
    return replace(
        exchange,
        request_body=request[:request_limit],
        response_body=kept,
        chunk_offsets=tuple(pair for pair in exchange.chunk_offsets if pair[1] < len(kept)),
        request_truncated=exchange.request_truncated or request_cut,
        response_truncated=exchange.response_truncated or response_cut,
        annotations=notes,
    )


def prepared(
    exchange: Exchange, limits: CaptureLimits, redactor: Redactor, bodies: ParsedBodies | None = None
) -> Exchange:
    """Return the exchange as it may be recorded: no media, no secrets, no more bytes than allowed."""
    taken = without_media(exchange.request_body, keeps=limits.keeps_media)
    request = taken.body
    if request is not exchange.request_body:
        notes = {**exchange.annotations, "request_body_bytes": len(exchange.request_body)}
        exchange = replace(exchange, request_body=request, request_media=taken.notes, annotations=notes)
    # Cut twice: the first saves the work, and leaves enough behind the limit that no secret lies across it.
    slack = max(redactor.longest, _SLACK_BYTES)
    roughly = cut(exchange, limits, slack=slack)
    masked = redactor.masked(roughly, bodies)
    if masked is exchange and not exchange.response_truncated:
        return cut(exchange, limits)
    shorter = replace(
        limits,
        request_body_bytes=_whole(masked.request_body, len(request) > len(roughly.request_body), slack),
        response_body_bytes=_whole(masked.response_body, roughly.response_truncated, slack),
    )
    return cut(cut(masked, shorter), limits)


def _whole(body: bytes, was_cut: bool, slack: int) -> int:
    """Return how much of a masked body holds no beginning of a secret that was cut off."""
    return max(0, len(body) - slack) if was_cut else len(body)


def reduced(exchange: Exchange, level: CaptureLevel) -> Exchange:
    """Return the exchange with what the level allows: `metadata` keeps no bodies, `off` no headers either."""
    if level == "full":
        return with_media_that_is_left(exchange)
    exchange = changed(exchange, {"request_body": b"", "response_body": b"", "request_media": {}})
    return exchange if level == "metadata" else changed(exchange, {"request_headers": {}, "response_headers": {}})


def with_media_that_is_left(exchange: Exchange) -> Exchange:
    """Return the exchange without what is known of pictures whose place in the body was masked, or cut off."""
    left = {hash: note for hash, note in exchange.request_media.items() if hash.encode() in exchange.request_body}
    return exchange if len(left) == len(exchange.request_media) else changed(exchange, {"request_media": left})


def bare(exchange: Exchange) -> Exchange:
    """Return the exchange without anything that a caller, an engine or a plugin may have put words into."""
    named = exchange.model_requested if exchange.model_reference else None  # else it is any word
    exchange = replace(exchange, error_message=None, session_id=None, user_agent=None, model_requested=named)
    return replace(reduced(exchange, "off"), annotations={})


def _masked(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: REDACTED if is_secret_name(name) else value for name, value in headers.items()}
