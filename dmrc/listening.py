"""Where the gateway listens for other machines: `DMRC_LISTEN`, and `--listen` of `dmrc serve`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dmrc.errors import SettingError


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the gateway listens beside loopback and Docker's bridge, for whoever has a key."""

    address: str
    """An IP address of this machine; `0.0.0.0` is all of IPv4, `::` all."""
    port: int
    """Its port."""
    tls_cert: Path | None
    """`DMRC_TLS_CERT`: the certificate with its chain; None is plain HTTP, for loopback and Docker's bridge alone."""
    tls_key: Path | None
    """`DMRC_TLS_KEY`: its key; None where there is no certificate."""
    may_be_plain: bool = False
    """`DMRC_LISTEN_PLAIN=1`: something else protects the way, as in a Pod behind a NetworkPolicy."""

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine reaches it."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def is_everywhere(self) -> bool:
        """Return whether it is no address, but all of this machine."""
        return ipaddress.ip_address(self.address).is_unspecified

    @property
    def url(self) -> str:
        """Return the base URL by the address."""
        return self.url_by(())

    def url_by(self, names: Sequence[str]) -> str:
        """Return the base URL of other machines, where a certificate is for these names.

        By the address where it is for that, or for nothing that is a name; else by the first name.
        """
        known = [name for name in names if "*" not in name]
        is_certified = ipaddress.ip_address(self.address) in map(_parsed, known)
        host = _in_url(self.address if is_certified or not known else known[0])
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.port}/engines/v1"

    @property
    def address_in_url(self) -> str:
        """Return the address as a URL has it: one of IPv6 in brackets."""
        return _in_url(self.address)


def parse_address(text: str, default_port: int) -> tuple[str, int]:
    """Return address and port of `192.0.2.7`, `192.0.2.7:443`, `2001:db8::7`, `[2001:db8::7]:443`.

    Raises:
        SettingError: It is none of these.
    """
    match = re.fullmatch(r"\[(?P<six>[^]]+)](?::(?P<port6>\d+))?|(?P<four>[^:]+)(?::(?P<port4>\d+))?", text, re.ASCII)
    parts = match.groupdict() if match else {}
    address, port = parts.get("six") or parts.get("four") or text, parts.get("port6") or parts.get("port4")
    try:
        ipaddress.ip_address(address)
        number = int(port) if port else default_port
        if not 0 < number < 65536:
            raise ValueError(port)
    except ValueError as error:
        raise SettingError(
            f"DMRC_LISTEN (--listen) must be an address of this machine, with a port or without, not '{text}'",
            remedy="Use 192.0.2.7:12435, [2001:db8::7]:12435, or 0.0.0.0 for every address",
        ) from error
    return address, number


def _parsed(name: str) -> object:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return name


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
