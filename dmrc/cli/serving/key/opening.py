"""Makes a key valid, and listens where containers bring it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict

from dmrc.cli.app import App
from dmrc.gateway.projects.keys import NamedKey
from dmrc.projects import key_hash


def open_key(app: App, name: str, key: str, models: Sequence[str] = ()) -> str | None:
    """Make a key valid, and return the base URL of containers; None where there is no Docker engine.

    Raises:
        InputError: There is another key of this name.
        PortTakenError: Another process listens on the port, where containers reach this machine.
    """
    from dmrc.cli.projects.setup.reaching import attach
    from dmrc.docker_context import local_docker_endpoint
    from dmrc.errors import DockerError

    with app.daemon.needed():
        host = address = None
        try:
            host = local_docker_endpoint(os.environ).host
            address = attach(app, host).address
        except DockerError:
            host = None  # no containers; the key is for this machine then
        wish = NamedKey(name=name, sha256=key_hash(key), models=tuple(models), docker_host=host)
        app.daemon.request("POST", "/keys", json.dumps(asdict(wish)))
    return None if address is None else container_base_url(app, address)


def container_base_url(app: App, address: str) -> str:
    """Return the base URL of a container, where `address` is what `attach` returned.

    Where that is loopback, Docker runs in a virtual machine, whose containers know this machine by a name.
    Source: https://docs.docker.com/desktop/features/networking/#i-want-to-connect-from-a-container-to-a-service-on-the-host
    """
    host = "host.docker.internal" if address == "127.0.0.1" else address
    return f"http://{host}:{app.settings.port}/engines/v1"


def network_base_url(app: App) -> str | None:
    """Return the base URL of other machines; None where they cannot come in."""
    listen = (app.daemon.status() or {}).get("listen")
    return str(listen["url"]) if isinstance(listen, dict) else None
