"""Which Docker engine the user's `docker` talks to, and whether its containers can reach this machine."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dmrc.errors import DockerError
from dmrc.paths import expanded
from dmrc.secret_names import hidden_in_urls

DEFAULT_HOST = "unix:///var/run/docker.sock"
"""Docker's default on Linux. Source: https://docs.docker.com/reference/cli/docker/#environment-variables."""


@dataclass(frozen=True, slots=True)
class DockerEndpoint:
    """Where the Docker engine listens."""

    host: str
    """As in `DOCKER_HOST`: `unix:///…`, `tcp://…`, `ssh://…`."""
    context: str | None
    """Name of the Docker context that says so; None for `DOCKER_HOST` or the default."""

    @property
    def is_local(self) -> bool:
        """Return whether the engine is on this machine."""
        return is_local(self.host)

    def elsewhere(self, remedy: str) -> DockerError:
        """Return why containers of an engine on another machine get no model."""
        source = f"Docker context '{self.context}'" if self.context else "DOCKER_HOST"
        host = hidden_in_urls(self.host)
        return DockerError(
            f"{source} is on another machine ({host}), whose containers cannot reach the models here", remedy=remedy
        )


def is_local(docker_host: str) -> bool:
    """Return whether the engine at `docker_host` is on this machine."""
    parts = urlsplit(docker_host)
    return parts.scheme in ("unix", "npipe") or parts.hostname in ("localhost", "127.0.0.1", "::1")


def docker_endpoint(environ: Mapping[str, str]) -> DockerEndpoint:
    """Return the engine that `docker` would talk to, in the order in which `docker` looks.

    Source: https://docs.docker.com/engine/manage-resources/contexts/.

    Raises:
        DockerError: The context does not exist.
    """
    directory = _directory(environ)
    if environ.get("DOCKER_HOST"):
        return DockerEndpoint(environ["DOCKER_HOST"], None)
    name = environ.get("DOCKER_CONTEXT") or _current_context(directory)
    return _of_context(directory, name) if name and name != "default" else DockerEndpoint(DEFAULT_HOST, None)


def local_docker_endpoint(environ: Mapping[str, str]) -> DockerEndpoint:
    """Return the same, for what works only where the engine is on this machine.

    Raises:
        DockerError: The context does not exist, or is on another machine: its containers cannot reach this one.
    """
    endpoint = docker_endpoint(environ)
    if not endpoint.is_local:
        raise endpoint.elsewhere("Use a local engine: docker context use default, or unset DOCKER_HOST")
    return endpoint


def local_docker_host(environ: Mapping[str, str]) -> str | None:
    """Return the address of the user's Docker engine; None where there is none on this machine."""
    try:
        return local_docker_endpoint(environ).host
    except DockerError:
        return None


def cannot_be_used(docker_host: str, reason: str) -> DockerError:
    """Return why the engine at `docker_host` cannot be used, where asking it failed for `reason`."""
    lowered = reason.lower()
    if "permission denied" in lowered or "permissionerror" in lowered:
        return DockerError(
            f"Docker at {docker_host} refuses this user: permission denied",
            remedy="Add yourself to the group docker, or run dmrc as a user who may use Docker",
        )
    if any(sign in lowered for sign in ("no such file", "connection refused", "filenotfound", "connection aborted")):
        return DockerError(
            f"no Docker engine answers at {docker_host}",
            remedy="Start Docker, or run without it: dmrc exec SERVICE -- COMMAND",
        )
    return DockerError(f"Docker at {docker_host} cannot be used: {reason.splitlines()[0]}")


def no_proxy_of_docker(environ: Mapping[str, str], host: str) -> dict[str, str]:
    """Return `NO_PROXY` and `no_proxy` as Docker's settings give them to every container of the engine at `host`.

    Source: https://docs.docker.com/engine/cli/proxy/
    """
    hosts = _proxies(environ, host).get("noProxy")
    return {"NO_PROXY": hosts, "no_proxy": hosts} if isinstance(hosts, str) and hosts else {}


def is_behind_proxy(environ: Mapping[str, str], host: str, address: str) -> bool:
    """Return whether Docker's settings send the containers of the engine at `host` through a proxy to an address."""
    settings = _proxies(environ, host)
    excepted = str(settings.get("noProxy") or "").replace(",", " ").split()
    return bool(settings.get("httpProxy")) and not any(_covers(each, address) for each in excepted)


def _covers(excepted: str, address: str) -> bool:
    """Return whether an entry of `NO_PROXY` is this address, or a network that has it in it."""
    if excepted in ("*", address):
        return True
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(excepted, strict=False)
    except ValueError:
        return False


def _proxies(environ: Mapping[str, str], host: str) -> dict[str, object]:
    proxies = _configuration(_directory(environ)).get("proxies")
    known = proxies if isinstance(proxies, dict) else {}
    settings = known.get(host, known.get("default"))
    return settings if isinstance(settings, dict) else {}


def _directory(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("DOCKER_CONFIG") or expanded("~/.docker"))


def _configuration(directory: Path) -> dict[str, object]:
    try:
        document = json.loads((directory / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}  # no configuration, or one that `docker` itself will complain about
    return document if isinstance(document, dict) else {}


def _current_context(directory: Path) -> str | None:
    name = _configuration(directory).get("currentContext")
    return name if isinstance(name, str) else None


def _of_context(directory: Path, name: str) -> DockerEndpoint:
    path = directory / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    try:
        host = json.loads(path.read_bytes())["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DockerError(f"Docker context '{name}' cannot be read", remedy="See: docker context ls") from error
    return DockerEndpoint(str(host), name)
