"""The checks of `dmrc doctor` of where the gateway listens, and for whom."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from dmrc.cli.app import App
from dmrc.errors import DaemonError, DockerError
from dmrc.health.check import Check

if TYPE_CHECKING:
    from dmrc.docker_context import DockerEndpoint

_LITTLE_VALIDITY_SECONDS = 3 * 86400.0
_LOOPBACK = "127.0.0.1"


def port(app: App) -> Check:
    """Look who has the port on loopback."""
    status, number = app.daemon.status(), app.settings.port
    if status is None:
        _bind(_LOOPBACK, number)
        return Check("port", "ok", f"{number} is free")
    if status["port"] == number:
        return Check("port", "ok", f"{number} is the daemon's")
    message = f"the daemon listens on {status['port']}, and DMRC_PORT is {number}"
    return Check("port", "problem", message, "Set DMRC_PORT to that, or run: dmrc stop-runner")


def bridge(app: App) -> Check:
    """Look whether the gateway listens, or can, where containers reach this machine."""
    from dmrc.compose.network import bridge_gateway
    from dmrc.docker_context import docker_endpoint

    try:
        endpoint = docker_endpoint(os.environ)
        if not endpoint.is_local:
            return _from_elsewhere(app, endpoint)
        address = bridge_gateway(endpoint.host)
    except DockerError:
        return Check("bridge", "warning", "unknown, for Docker does not answer")
    if address is None:
        return Check("bridge", "ok", "containers reach loopback: Docker runs in a virtual machine")
    status = app.daemon.status()
    addresses = status["addresses"] if status is not None else None
    if isinstance(addresses, list) and address in addresses:
        return Check("bridge", "ok", f"the gateway listens on {address}:{app.settings.port}")
    _bind(address, app.settings.port)
    return Check("bridge", "ok", f"{address}:{app.settings.port} is free")


def _from_elsewhere(app: App, endpoint: DockerEndpoint) -> Check:
    """Look where containers of an engine on another machine come in."""
    from dmrc.cli.projects.setup.reaching import from_elsewhere

    try:
        return Check("bridge", "ok", f"containers of another machine come in at {from_elsewhere(app, endpoint).server}")
    except DockerError as error:
        return Check("bridge", "warning", error.message, error.remedy)


def network(app: App) -> Check:
    """Look at where other machines come in, and at its certificate."""
    from dmrc.gateway.server.certificates import read_certificate

    status, wanted = app.daemon.status(), app.settings.listening
    listen = status.get("listen") if status is not None else None
    if status is not None and listen is None and wanted is not None:
        message = "the daemon was started without DMRC_LISTEN, and no other machine can come in"
        return Check("network", "warning", message, "Run: dmrc stop-runner; the next command starts it with that")
    if isinstance(listen, dict):
        ends, message = listen.get("expires_at"), f"other machines come in by a key at {listen['url']}"
    elif wanted is None:
        return Check("network", "ok", "no other machine can come in; see: dmrc serve --help")
    else:
        ends, message = None, f"other machines come in at {wanted.address}:{wanted.port} when the daemon runs"
        if wanted.tls_cert and wanted.tls_key:
            ends = read_certificate(wanted.tls_cert, wanted.tls_key).expires_at
    return certified(message, ends if isinstance(ends, float) else None, time.time())


def certified(message: str, ends_at: float | None, now: float) -> Check:
    """Return the check of a listener whose certificate ends then; None is one that has none."""
    if ends_at is None:
        return Check("network", "ok", message)
    left = ends_at - now
    if left < _LITTLE_VALIDITY_SECONDS:
        ends = f"ends in {left / 3600:.0f} hours" if left > 0 else "has expired: no client takes it"
        remedy = "Renew it; the daemon takes the new one by itself"
        return Check("network", "warning", f"{message}; its certificate {ends}", remedy)
    return Check("network", "ok", f"{message}; its certificate is valid for {left / 86400:.0f} days")


def _bind(address: str, port: int) -> None:
    """Listen for a moment, as the daemon would.

    Raises:
        DaemonError: It could not.
    """
    from dmrc.gateway.server.listeners import bind_tcp

    try:
        bind_tcp(address, port).close()
    except OSError as error:
        raise DaemonError(f"{address}:{port} cannot be used: {error.strerror}") from error
