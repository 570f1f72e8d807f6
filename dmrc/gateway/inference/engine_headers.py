"""Which headers of a request an engine gets: the few that it needs, and none that a caller meant for dmrc."""

from __future__ import annotations

from collections.abc import Mapping

from dmrc.exchange import FAULT, FAULT_PLANNED, JsonValue
from dmrc.secret_names import is_secret_name

# Who asks, and which trace and conversation it belongs to; the last two are how OpenRouter names an application.
_OF_CALLERS = ("traceparent", "tracestate", "x-request-id", "x-session-id", "user-agent", "http-referer", "x-title")
# llama.cpp's server refuses headers of 8 KiB together, with an empty body.
_LONGEST = 512

# What one hop says to the next, and what the session says itself. Source: RFC 9110, section 7.6.1.
_OF_THIS_HOP = frozenset(
    {
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect", "host"),
        *("content-length", "content-type", "content-encoding", "accept-encoding", "origin", "referer"),
    }
)


def of_callers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what an engine gets of a caller's headers, under lower-case names."""
    passed = {name: headers[name] for name in _OF_CALLERS if name in headers and len(headers[name]) <= _LONGEST}
    return {"content-type": "application/json", **passed}


def of_plugins(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what an engine gets where plugins have changed the request: they may add headers, but no credentials."""
    lower = {name.lower(): value for name, value in headers.items()}
    added = {name: value for name, value in lower.items() if name not in _OF_THIS_HOP and not is_secret_name(name)}
    return {"content-type": "application/json", **added}


def of_fault(annotations: Mapping[str, JsonValue], status: int) -> dict[str, str]:
    """Return the header that names a fault which is made on purpose, or is to be made in the stream that begins."""
    fault = annotations.get(FAULT) or (annotations.get(FAULT_PLANNED) if status < 400 else None)
    return {"x-dmrc-fault": fault} if isinstance(fault, str) and fault.isascii() and fault.isidentifier() else {}
