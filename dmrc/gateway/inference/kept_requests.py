"""What the record keeps of a request, and reads in its headers."""

from __future__ import annotations

import re

REFUSED_BYTES = 2 << 20
"""Of a request that no engine saw, at most this much is kept for the record; twice what is recorded in the end."""

_TRACEPARENT = re.compile("[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-")


def beginning_of(body: bytes) -> bytes:
    """Return what is kept for the record of a request that no engine saw; no picture stays that was cut in two."""
    if len(body) <= REFUSED_BYTES:
        return body
    kept = body[:REFUSED_BYTES]
    last = kept.rfind(b'"')
    return kept if b" " in kept[last:] else kept[:last]


def trace_of(traceparent: str | None) -> tuple[str | None, str | None]:
    """Return trace and span of a `traceparent`. Source: W3C Trace Context, section 3.2."""
    match = _TRACEPARENT.match(traceparent or "")
    return (match[1], match[2]) if match else (None, None)
