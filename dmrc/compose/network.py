"""Where containers reach this machine: the address of Docker's default bridge."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping
from urllib.parse import urlsplit

from dmrc.docker_context import cannot_be_used

_CONNECT_SECONDS = 5.0
_SSH_SECONDS = 15.0


def check_reachable(docker_host: str) -> None:
    """Connect to the engine and hang up, so that what needs it can be refused before anything starts or is pulled.

    Raises:
        DockerError: It does not listen, or refuses this user.
    """
    parts = urlsplit(docker_host)
    try:
        if parts.scheme == "unix":
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_CONNECT_SECONDS)
                connection.connect(parts.path)
        elif parts.scheme in ("tcp", "http", "https"):
            socket.create_connection((parts.hostname or "localhost", parts.port or 2375), _CONNECT_SECONDS).close()
        elif parts.scheme == "ssh":
            _ask_by_ssh(docker_host)
    except OSError as error:
        raise cannot_be_used(docker_host, str(error)) from error


def _ask_by_ssh(docker_host: str) -> None:
    """Have Docker's own program ask the engine, for it knows how to get there by ssh.

    Raises:
        OSError: There is no answer.
    """
    command = ["docker", "--host", docker_host, "version", "--format", "{{.Server.Version}}"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_SSH_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"it does not answer within {_SSH_SECONDS:.0f} seconds") from error
    if asked.returncode != 0:
        raise OSError(next(iter(asked.stderr.strip().splitlines()[-1:]), "it does not answer"))


def bridge_gateway(docker_host: str) -> str | None:
    """Return the IPv4 address that `host-gateway` means in containers, or None where it is not on this machine.

    It is not on this machine when Docker runs in a virtual machine (Docker Desktop), which forwards to loopback.
    Blocks for a round trip to the engine; call it in a thread.

    Raises:
        DockerError: The engine cannot be reached, or refuses us.
    """
    import docker
    import docker.errors
    import requests

    try:
        client = docker.DockerClient(base_url=docker_host, timeout=10)
        try:
            attributes = client.networks.get("bridge").attrs
        finally:
            client.close()
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise cannot_be_used(docker_host, str(error)) from error
    return _local_address(attributes)


def _local_address(attributes: Mapping[str, object]) -> str | None:
    import psutil  # the daemon asks; commands only connect

    interfaces = {
        name: [each.address for each in addresses if each.family == socket.AF_INET]
        for name, addresses in psutil.net_if_addrs().items()
    }
    ipam, options = attributes.get("IPAM"), attributes.get("Options")
    entries = (ipam.get("Config") if isinstance(ipam, dict) else None) or []
    gateways = [entry.get("Gateway") for entry in entries]
    for addresses in interfaces.values():
        for address in addresses:
            if address in gateways:
                return address
    # Some engines leave the gateway out; the bridge's own address is the same.
    bridge = options.get("com.docker.network.bridge.name", "docker0") if isinstance(options, dict) else "docker0"
    return next(iter(interfaces.get(bridge, [])), None)
