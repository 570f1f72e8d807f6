"""Who may use the web page: a browser that came with a one-time token, and its cookie from then on."""

from __future__ import annotations

import secrets
import time
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.types import Scope

from dmrc.errors import AuthenticationError, PermissionDeniedError
from dmrc.exchange import Exchange
from dmrc.gateway.server.cors import host_name, is_loopback

PREFIX = "/ui"
"""Where the page lies."""
LOGIN = f"{PREFIX}/login"
"""Takes the token, and gives the cookie."""
API = f"{PREFIX}/api"
"""Below it are the gateway's own routes, for the page's scripts: `/ui/api/engines/v1/chat/completions`."""
SERVICE = "playground"
"""Stands for a service in the record of what the page asks."""
PROJECT_HEADER = "x-dmrc-project"
"""In which the page says of which project a model is: it may ask for all that a project declares, upstreams too."""

_TOKEN_SECONDS = 300.0
_MOST_SESSIONS = 100


class PageSessions:
    """Tokens and sessions, in memory: they end with the daemon."""

    def __init__(self, port: int) -> None:
        """Name the cookie after the port, for browsers do not keep cookies of ports apart."""
        self.cookie = f"dmrc-ui-{port}"
        self._tokens: dict[str, float] = {}
        self._sessions: dict[str, None] = {}

    def new_token(self) -> str:
        """Return a token that opens one session within five minutes."""
        now = time.monotonic()
        self._tokens = {token: until for token, until in self._tokens.items() if until > now}
        token = secrets.token_urlsafe(32)
        self._tokens[token] = now + _TOKEN_SECONDS
        return token

    def open(self, token: str) -> str:
        """Take a token, and return what the cookie of the session holds.

        Raises:
            AuthenticationError: It is unknown, was used, or is too old.
        """
        if self._tokens.pop(token, 0.0) < time.monotonic():
            raise AuthenticationError("this link was used already, or is too old", remedy="Run: dmrc ui")
        session = secrets.token_urlsafe(32)
        self._sessions[session] = None
        while len(self._sessions) > _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return session

    def admit(self, scope: Scope) -> None:
        """Let a request to the page in.

        `SameSite` is not enough: pages on other ports of loopback are of the same site, and their requests carry the
        cookie. So whatever such a page asks is refused by its `Origin`, or by what the browser says of it.

        Raises:
            PermissionDeniedError: `Host` is no name of loopback, or another page asks.
            AuthenticationError: There is no session.
        """
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not is_loopback(host_name(host) or ""):
            raise PermissionDeniedError(f"host '{host}' is not this machine", remedy="Run: dmrc ui")
        origin, changes = headers.get("origin"), scope["method"] not in ("GET", "HEAD")
        is_foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if (origin is None and changes) or origin not in (None, f"http://{host}"):
            raise PermissionDeniedError(f"origin '{origin}' is not this page")
        if is_foreign and headers.get("sec-fetch-mode") != "navigate":
            raise PermissionDeniedError("another page asks")
        if scope["path"] != LOGIN and _cookie(headers, self.cookie) not in self._sessions:
            raise AuthenticationError("this browser has no session", remedy="Run: dmrc ui")


def is_of_page(exchange: Exchange) -> bool:
    """Return whether the web page asked; a service of that name has a key."""
    return exchange.service == SERVICE and exchange.key_id is None


def _cookie(headers: Headers, name: str) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie")).get(name)
    except CookieError:
        return None
    return morsel.value if morsel else None
