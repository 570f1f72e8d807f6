"""Where the containers of a Docker engine reach the gateway: on the bridge of this machine, or from another machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Literal, cast
from urllib.parse import urlsplit

from dmrc.cli.app import App
from dmrc.cli.progress import note
from dmrc.compose.network import check_reachable
from dmrc.compose.override import GatewayAddress
from dmrc.docker_context import DockerEndpoint, docker_endpoint, is_local
from dmrc.errors import ProjectError
from dmrc.fields import JsonObject
from dmrc.listening import Listening
from dmrc.project import GATEWAY_HOST, Project

_LOOPBACK = "127.0.0.1"
_LISTEN = (
    "Let it in: DMRC_LISTEN=ADDRESS with DMRC_TLS_CERT and DMRC_TLS_KEY, then dmrc stop-runner (dmrc serve --help). "
    "Or use a local engine: docker context use default, or unset DOCKER_HOST"
)


def attach(
    app: App, docker_host: str | None, *, plain_port: bool = False, say: Callable[[str], None] = note
) -> GatewayAddress:
    """Have the gateway listen where containers of a Docker engine reach it, and return where that is.

    With `plain_port` on port 80 too, or the user is told why not, by `say`. From another machine they come in where
    `DMRC_LISTEN` says.

    Raises:
        DockerError: The engine is on another machine, and the gateway does not listen for it.
    """
    if docker_host is None:
        return GatewayAddress(_LOOPBACK, app.settings.port)
    if not is_local(docker_host):
        if plain_port:
            say(f"http://{GATEWAY_HOST} is not served to containers on another machine: use OPENAI_BASE_URL")
        return from_elsewhere(app, DockerEndpoint(docker_host, docker_endpoint(os.environ).context))
    wish = {"docker_host": docker_host, "plain_port": plain_port}
    document = cast(JsonObject, app.daemon.request("POST", "/attach", json.dumps(wish)))
    if document["no_plain_port"]:
        say(f"http://{GATEWAY_HOST} is served on port {app.settings.port} only: {document['no_plain_port']}")
    return GatewayAddress(str(document["address"]), app.settings.port)


def from_elsewhere(app: App, endpoint: DockerEndpoint) -> GatewayAddress:
    """Return where containers of an engine on another machine reach the gateway.

    Raises:
        DockerError: Nowhere: the daemon does not listen for them, nor would one that starts.
    """
    status, wanted = app.daemon.status(), app.settings.listening
    listen = status.get("listen") if status is not None else None
    if isinstance(listen, dict):
        address, url = str(listen["address"]), str(listen["url"])
    elif status is None and wanted is not None:
        address, url = wanted.address, wanted.url_by(_names(wanted))
    else:
        raise endpoint.elsewhere(_LISTEN)
    parts = urlsplit(url)
    if is_local(f"tcp://{address}") or parts.hostname is None or parts.hostname in ("0.0.0.0", "::"):  # noqa: S104
        raise endpoint.elsewhere(f"It listens at {address} only, by no name that others know. {_LISTEN}")
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    return GatewayAddress(parts.hostname, parts.port or 0, scheme=scheme, is_elsewhere=True)


def _names(listening: Listening) -> Sequence[str]:
    """Return the names of the certificate that a daemon would show."""
    from dmrc.gateway.server.certificates import read_certificate

    if listening.tls_cert is None or listening.tls_key is None:
        return ()
    return read_certificate(listening.tls_cert, listening.tls_key).names


def check_reach(app: App, endpoint: DockerEndpoint, project: Project) -> None:
    """Refuse what cannot work, before anything starts or is pulled.

    Raises:
        DockerError: The engine does not answer, or is on another machine, for which the gateway does not listen.
        ProjectError: The project knows its containers by their addresses, which are hidden there.
    """
    if not endpoint.is_local:
        from_elsewhere(app, endpoint)
    if not endpoint.is_local and project.auth == "address":
        raise ProjectError(
            "x-dmrc: {auth: address} knows containers of this machine, and Docker is on another one",
            remedy="Remove it: services with models: are given a key",
        )
    check_reachable(endpoint.host)
