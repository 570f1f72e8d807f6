"""How one service reaches the gateway: by which URL, with which key, and past which proxy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

_BOTH = (("NO_PROXY", "no_proxy"), ("no_proxy", "NO_PROXY"))
"""Programs read one or the other, so both hold the same hosts."""
_USUAL_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The gateway as one service sees it."""

    host: str
    """Name or address by which the service calls it."""
    port: int
    """Its port."""
    scheme: Literal["http", "https"] = "http"
    """`https` where the service is on another machine."""
    key: str
    """The service's key; empty where it has none and is known by its address."""
    names: tuple[str, ...]
    """All names and addresses by which the service may call it."""
    no_proxy_before: Mapping[str, str] = field(default_factory=dict)
    """`NO_PROXY` and `no_proxy` as the service would have them without its file: of Docker's settings, or the shell."""

    @property
    def plain_url(self) -> str:
        """Return the URL of the OpenAI routes for those who send the key."""
        return f"{self._server}/engines/v1"

    @property
    def capability_url(self) -> str:
        """Return the same with the key in its path, for those who send none, or a placeholder."""
        return f"{self._server}/k/{self.key}/engines/v1"

    @property
    def _server(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def is_ours(self, url: str) -> bool:
        """Return whether a URL leads to the gateway."""
        try:
            parts = urlsplit(url.strip())
            usual = _USUAL_PORTS.get(parts.scheme, 0)
            port = parts.port or usual
        except ValueError:
            return False
        host_names = {*self.names, self.host, "host.docker.internal"}
        return parts.scheme == self.scheme and parts.hostname in host_names and port in (self.port, usual)

    def no_proxy(self, environment: Mapping[str, str | None]) -> dict[str, str]:
        """Return `NO_PROXY` and `no_proxy` with the gateway beside the hosts that `environment` has in them.

        Without it a proxy gets the request and the key. `*`, which is every host, counts alone only, and stays so.
        """
        written = {name: value for name, value in environment.items() if value is not None}
        before = {**self.no_proxy_before, **written}
        merged = {}
        for name, other in _BOTH:
            hosts = before.get(name) or before.get(other) or ""
            known = hosts.replace(",", " ").split()
            missing = [each for each in self.names if each not in known]
            merged[name] = hosts if "*" in known else ",".join([*filter(None, [hosts.strip(" ,")]), *missing])
        return merged
