"""Which proxy a URL is reached through, by the environment: one reading, for everything that dmrc asks.

`HTTP_PROXY` and `HTTPS_PROXY`, then `ALL_PROXY`, each in capitals or not; `NO_PROXY` as Docker reads it.
Source: https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config and
https://docs.docker.com/engine/daemon/proxy/#environment-variables
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from dmrc.errors import SettingError

_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_EXAMPLE = "Write http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT"


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy."""

    scheme: str
    """`http`, or `https` where the proxy itself is spoken to by TLS."""
    host: str
    """Name or address, without brackets."""
    port: int
    """Where it listens."""
    variable: str
    """Which variable names it: `HTTPS_PROXY`."""
    user: str | None = field(default=None, repr=False)
    """Who it is told that we are, decoded; None is nobody."""
    password: str = field(default="", repr=False)
    """With which password, decoded."""

    @property
    def address(self) -> str:
        """Return host and port, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Return its URL, without user and password."""
        return f"{self.scheme}://{self.address}"

    @property
    def headers(self) -> dict[str, str]:
        """Return what it wants to be sent beside a request, or none."""
        if self.user is None:
            return {}
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {token}"}

    @property
    def wish(self) -> str:
        """Return what to do where it asks for a password, or refuses ours."""
        return f"It wants a user and password (407): set {self.variable}=http://USER:PASSWORD@{self.address}"


def proxy_for(url: str, environ: Mapping[str, str] = os.environ) -> Proxy | None:
    """Return the proxy for a URL, or None where it is asked directly, as this machine always is.

    Raises:
        SettingError: The variable that names it holds something that is no HTTP proxy.
    """
    parts = urlsplit(url)
    name, value = _variable(parts.scheme, environ)
    host = (parts.hostname or "").rstrip(".")
    if not value or is_loopback(host) or _is_excepted(host, parts.port or _PORTS.get(parts.scheme, 0), environ):
        return None
    return _parse(name, value)


def is_loopback(host: str) -> bool:
    """Return whether a host, without a port, is this machine."""
    address = _address(host)
    return address.is_loopback if address is not None else host == "localhost" or host.endswith(".localhost")


def _variable(scheme: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the name and the value of the first variable that says something for this scheme."""
    names = (f"{scheme.upper()}_PROXY", f"{scheme}_proxy", "ALL_PROXY", "all_proxy")
    return next(((name, value) for name in names if (value := environ.get(name, "").strip())), ("", ""))


def _parse(variable: str, value: str) -> Proxy:
    shown = value.rpartition("@")[2]  # a password stands in no message
    match = _SCHEME.match(value)
    scheme = match[1].lower() if match else "http"
    if scheme not in _PORTS:
        raise SettingError(
            f"{variable} names a {scheme} proxy, '{shown}', and dmrc speaks to HTTP ones", remedy=_EXAMPLE
        )
    userinfo, at, rest = value[match.end() if match else 0 :].removeprefix("//").rpartition("@")
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port == 0 or re.search(r"\s", host):
        raise SettingError(f"{variable} must be the address of a proxy, not '{shown}'", remedy=_EXAMPLE)
    user, _, password = userinfo.partition(":")
    return Proxy(scheme, host, port or _PORTS[scheme], variable, unquote(user) if at else None, unquote(password))


def _is_excepted(host: str, port: int, environ: Mapping[str, str]) -> bool:
    """Return whether `NO_PROXY` names a host.

    Shape: `*`, `10.1.2.3`, `10.0.0.0/8`, `::1`, `domain` with all below it, `.domain` or `*.domain` for those alone;
    each but a network may have a port, `domain:8080`; parted by commas or blanks.
    """
    listed = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    return any(_matches(entry, host.lower(), port) for entry in re.split(r"[,\s]+", listed.lower()) if entry)


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    if (listed := _address(entry.strip("[]"))) is not None:
        return listed == address
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isascii() and wanted.isdecimal():
        if int(wanted) != port:
            return False
        entry = name
        if (listed := _address(entry.strip("[]"))) is not None:
            return listed == address
    if address is not None:
        return False
    domain = entry.removeprefix("*").rstrip(".")
    return host.endswith(domain) if domain.startswith(".") else host == domain or host.endswith(f".{domain}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is; None for a name. An IPv4 address written as IPv6 is that IPv4 address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
