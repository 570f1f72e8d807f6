"""Answers to browsers: which pages of other origins may read what the gateway says.

Source: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Scope, Send

from dmrc.errors import PermissionDeniedError

ANY_ORIGIN = "*"
"""In `DMRC_ORIGINS`: every page may call. The settings allow it only where a key is required."""

_EXPOSED = "x-request-id, request-id, x-dmrc-exchange-id, x-dmrc-queue-ms, x-dmrc-load-ms, x-dmrc-left-out, retry-after"
_PREFLIGHT_SECONDS = 600
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")


class Origins:
    """The origins whose pages may call: loopback's on any port, and those of the settings."""

    def __init__(self, others: Iterable[str]) -> None:
        """Allow `others` beside loopback's; `*` allows every one."""
        self._others = frozenset(origin.rstrip("/") for origin in others)

    def allow(self, origin: str) -> bool:
        """Return whether pages of this origin may call."""
        if ANY_ORIGIN in self._others or origin in self._others:
            return True
        try:
            name = urlsplit(origin).hostname
        except ValueError:
            return False
        return name is not None and is_loopback(name)


def foreign_origin(origin: str) -> PermissionDeniedError:
    """Return what is told to a page that may not call."""
    return PermissionDeniedError(f"origin '{origin}' is not allowed", remedy="Add it to DMRC_ORIGINS")


def host_name(host: str) -> str | None:
    """Return the name in a `Host` header, in lower case; None: it is not of the form `name[:port]`.

    A dot at its end says that nothing is to be added to it, and is no part of it. Source: RFC 9110, section 7.2.
    """
    known = _HOST.fullmatch(host)
    return known[1].strip("[]").removesuffix(".").lower() if known else None


def is_loopback(name: str) -> bool:
    """Return whether a host name or address is this machine itself."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_preflight(scope: Scope) -> bool:
    """Return whether a browser asks if it may send another request."""
    return scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope)


async def answer_preflight(scope: Scope, send: Send) -> None:
    """Allow the request that a page of an allowed origin wants to send."""
    asked = Headers(scope=scope)
    headers = MutableHeaders(
        {
            "access-control-allow-origin": asked["origin"],
            "access-control-allow-methods": "GET, POST, DELETE",
            # Never `*`: for a request with Authorization browsers take it literally.
            "access-control-allow-headers": asked.get("access-control-request-headers", ""),
            "access-control-max-age": str(_PREFLIGHT_SECONDS),
            "vary": "Origin, Access-Control-Request-Headers",
        }
    )
    await send({"type": "http.response.start", "status": 204, "headers": headers.raw})
    await send({"type": "http.response.body", "body": b""})


def readable_by(origin: str, send: Send) -> Send:
    """Return a `send` whose answers a page of `origin` may read."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            headers["access-control-allow-origin"] = origin
            headers["access-control-expose-headers"] = _EXPOSED
            headers.add_vary_header("Origin")
        await send(message)

    return with_headers
