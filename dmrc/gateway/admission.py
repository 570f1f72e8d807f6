"""Who may come in: the table of DESIGN.md, section 7."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from dmrc.errors import AuthenticationError, PermissionDeniedError
from dmrc.gateway.bodies import Bodies
from dmrc.gateway.cors import Origins, is_loopback
from dmrc.project import GATEWAY_HOST, KEY_PREFIX
from dmrc.projects import Caller, Projects

Listener = Literal["loopback", "bridge"]
"""Where a connection came in."""


class Admission:
    """Decides for each request, before anything of it is read."""

    def __init__(self, projects: Projects, *, require_key: bool, origins: Origins) -> None:
        """Know the keys and the settings; pages of `origins` may call from a browser."""
        self._projects = projects
        self._require_key = require_key
        self.origins = origins
        self.bodies = Bodies()
        """What was let in, and has not ended."""

    def admit(self, scope: Scope) -> Caller | None:
        """Return whose key a request carries, or None where it needs none and has none.

        The entrance has put into the scope how it came in: `dmrc.listener`, and `dmrc.path_key` where its path began
        with a capability (`/k/<key>/engines/v1`), `dmrc.page` where the web page asks, and
        `dmrc.container` where a project knows its containers by their addresses.

        Raises:
            PermissionDeniedError: `Host` or `Origin` is foreign (a page of another site, or DNS rebinding).
            AuthenticationError: The key is missing, unknown or revoked.
        """
        if "dmrc.page" in scope:
            return None  # the page's own cookie was checked, and more than is checked here
        headers = Headers(scope=scope)
        self._check_host(headers.get("host"), scope["server"][0] if scope.get("server") else None)
        self._check_origin(headers.get("origin"))
        key = scope.get("dmrc.path_key") or _key(headers)
        if key is not None and key.startswith(KEY_PREFIX):
            caller = self._projects.caller(key)
            if caller is None:
                raise AuthenticationError("this API key is unknown or was revoked", remedy="Run dmrc up again")
            return caller
        if (container := scope.get("dmrc.container")) is not None:
            known = self._projects.caller_in(container.project, container.service)
            if known is not None:
                return known
        if scope["dmrc.listener"] == "bridge" or self._require_key:
            raise AuthenticationError(
                "this listener needs the API key of a service",
                remedy="Send OPENAI_API_KEY, which dmrc gives to each service that declares models, as a bearer",
            )
        return None

    def _check_host(self, host: str | None, local_address: str | None) -> None:
        name = _name(host) if host else None
        if name is None or name in (GATEWAY_HOST, local_address) or is_loopback(name):
            return
        raise PermissionDeniedError(f"host '{name}' is not a name of this gateway", remedy=f"Use {GATEWAY_HOST}")

    def _check_origin(self, origin: str | None) -> None:
        if origin is not None and not self.origins.allow(origin):
            raise PermissionDeniedError(f"origin '{origin}' is not allowed", remedy="Add it to DMRC_ORIGINS")


def _key(headers: Headers) -> str | None:
    """Return the bearer; Anthropic's clients send the key as `x-api-key`."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key")


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return host  # no name of ours, and said as it came
