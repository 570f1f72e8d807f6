"""Who may come in: the table of docs/security.md."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from starlette.types import Scope

from dmrc.errors import AuthenticationError, PermissionDeniedError
from dmrc.gateway.projects.diffs import Diffs
from dmrc.gateway.projects.keys import Keys
from dmrc.gateway.server.cors import Origins, foreign_origin, host_name, is_loopback
from dmrc.gateway.server.credentials import sent_keys
from dmrc.gateway.server.page_sessions import PROJECT_HEADER
from dmrc.gateway.server.page_sessions import SERVICE as PAGE_SERVICE
from dmrc.gateway.server.request_bodies import RequestBodies
from dmrc.gateway.server.request_fields import RequestFields, fields_of, first
from dmrc.project import GATEWAY_HOST, KEY_PREFIX
from dmrc.projects import Caller, Projects, key_hash

ListenerKind = Literal["loopback", "bridge", "network"]
"""Where a connection came in: `network` is what `dmrc serve --listen` opens, on whichever address."""


class Admission:
    """Decides for each request, before anything of it is read."""

    def __init__(
        self,
        projects: Projects,
        keys: Keys,
        diffs: Diffs | None = None,
        *,
        require_key: bool,
        origins: Origins,
        hosts: Collection[str] = frozenset(),
    ) -> None:
        """Know the keys and the settings.

        Pages of `origins` may call from a browser; who sends no key may say the names of `hosts`, beside the gateway's
        own, in `Host`.
        """
        self._projects = projects
        self._keys = keys
        self._diffs = diffs
        self._require_key = require_key
        self._hosts = frozenset(host.lower() for host in hosts)
        self.origins = origins
        self.bodies = RequestBodies()
        """What was let in, and has not ended."""

    def admit(self, scope: Scope) -> Caller | None:
        """Return whose key a request carries, or None where it needs none and has none.

        The entrance has put into the scope how it came in: `dmrc.listener`, and `dmrc.path_key` where its path began
        with a capability (`/k/<key>/engines/v1`), `dmrc.page` where the web page asks, and
        `dmrc.container` where a project knows its containers by their addresses.

        Raises:
            PermissionDeniedError: `Origin` is foreign (a page of another site), or `Host` is, without a key (DNS
                rebinding).
            AuthenticationError: The key is missing, unknown or revoked.
            NotFoundError: The web page asks for a model of a project that is not up.
        """
        fields = fields_of(scope)
        if "dmrc.page" in scope:  # its cookie was checked, and more than is checked here
            return self._page_caller(first(fields, PROJECT_HEADER))
        self._check_page(fields)
        keys = list(sent_keys(scope))
        caller = next(filter(None, map(self._caller, keys)), None)
        if caller is not None:
            return caller  # by any name: who was rebound has no key
        if scope.get("dmrc.path_key") is not None or any(key.startswith(KEY_PREFIX) for key in keys):
            raise AuthenticationError(
                "this API key is unknown or was revoked", remedy="Run dmrc up again, or dmrc key create"
            )
        container = scope.get("dmrc.container")
        caller = self._projects.caller_in(container.project, container.service) if container else None
        if caller is None and (scope["dmrc.listener"] != "loopback" or self._require_key):
            raise _without_key(is_foreign=bool(keys), listener=scope["dmrc.listener"])
        for host in fields.get("host", ()):  # none is a caller of HTTP/1.0, and no browser
            self._check_host(host, scope["server"][0] if scope.get("server") else None)
        return caller

    def _page_caller(self, project: str | None) -> Caller | None:
        """Return who the web page is: the user of this machine, or of one project, whose models it may all use."""
        return None if project is None else Caller(None, PAGE_SERVICE, self._projects.get(project))

    def _caller(self, key: str) -> Caller | None:
        found = self._projects.caller(key) or self._keys.caller(key)
        return found if found is not None or self._diffs is None else self._diffs.caller(key_hash(key))

    def _check_host(self, host: str, local_address: str | None) -> None:
        name = host_name(host)
        if name is not None and (name in {GATEWAY_HOST, local_address, *self._hosts} or is_loopback(name)):
            return
        raise PermissionDeniedError(
            f"host '{name or host[:100]}' is not a name of this gateway",
            remedy=f"Use {GATEWAY_HOST}, send the service's key, or add it to DMRC_HOSTS",
        )

    def _check_page(self, fields: RequestFields) -> None:
        """Refuse pages of other sites; a picture or a link in one has no `Origin`, but the browser says what it is."""
        origin = first(fields, "origin")
        if origin is not None and not self.origins.allow(origin):
            raise foreign_origin(origin)
        if origin is None and first(fields, "sec-fetch-site") == "cross-site":
            raise PermissionDeniedError("a page of another site asks, which does not say its origin")


def _without_key(*, is_foreign: bool, listener: ListenerKind) -> AuthenticationError:
    """Return what to tell who sent no key, or one of somebody else's, where one of ours is needed."""
    what = "a key" if listener == "network" else "the API key of a service"
    failed = "this key is not dmrc's" if is_foreign else f"this listener needs {what}"
    if listener == "network":
        return AuthenticationError(
            failed, remedy="Send one as OPENAI_API_KEY. Whoever runs this dmrc makes it: dmrc key create"
        )
    return AuthenticationError(
        failed,
        remedy="Use the variables that dmrc gives each service with models: OPENAI_API_KEY, or a URL with the key in "
        "its path (see: dmrc config). Or write x-dmrc: {auth: address} at the top of the compose file. "
        "For what is not a service: dmrc key create",
    )
