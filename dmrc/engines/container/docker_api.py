"""Calls of Docker's API, each of which blocks: what the keeper of a container, the daemon and `dmrc up` have in common.

Source: https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dmrc.docker_context import cannot_be_used
from dmrc.engines.container.cards import CardAccess, card_access
from dmrc.engines.container.order import AUTO, DAEMON_LABEL, HOME_LABEL
from dmrc.engines.engine import FetchProgress
from dmrc.errors import DockerError

if TYPE_CHECKING:
    import docker

_SECONDS = 60
_GONE_SECONDS = 20.0


@contextmanager
def client(docker_host: str) -> Iterator[docker.APIClient]:
    """Ask the Docker engine at an address.

    Raises:
        DockerError: It does not answer, or refuses what is asked in the block: why.
    """
    import docker
    import docker.errors
    import requests

    try:
        one = docker.APIClient(base_url=docker_host, version="auto", timeout=_SECONDS)
        try:
            yield one
        finally:
            one.close()
    except docker.errors.APIError as error:
        raise DockerError(f"Docker says: {_plain(str(error.explanation or error))}") from error
    except (docker.errors.DockerException, requests.RequestException) as error:
        message = cannot_be_used(docker_host, str(error)).message
        raise DockerError(message, remedy="See that Docker runs and lets you in, or leave x-dmrc.engine out") from error


def access(info: dict[str, Any], *, uses_card: bool) -> CardAccess:
    """Return how a container gets the cards; `info` is what `docker info` says.

    Raises:
        DockerError: It runs containers in a virtual machine, which reaches no unix socket of this one.
    """
    if "Docker Desktop" in str(info.get("OperatingSystem")):
        raise DockerError(
            "engine 'container' needs a Docker Engine on this machine: Docker Desktop runs it in a virtual one",
            remedy="Leave x-dmrc.engine out",
        )
    return card_access(info.get("Runtimes") or {}, uses_card=uses_card)


def pull_missing(docker_host: str, image: str, *, uses_card: bool, progress: FetchProgress) -> str:
    """Have an image on this machine; `auto` is the one that fits. Return its name.

    Raises:
        DockerError: It cannot be had: why.
    """
    from docker.errors import ImageNotFound

    with client(docker_host) as api:
        name = access(api.info(), uses_card=uses_card).image if image == AUTO else image
        try:
            api.inspect_image(name)  # type: ignore[no-untyped-call]
        except ImageNotFound:
            _pull(api, name, progress)
        return name


def remove(docker_host: str, name: str) -> None:
    """End a container and have it gone; nothing happens where there is none of that name.

    Raises:
        DockerError: It may still be there.
    """
    with client(docker_host) as api:
        _remove(api, name)


def remove_left_behind(docker_host: str, home: str, daemon: str) -> list[str]:
    """Remove the containers that another daemon of a state directory has left; return their names.

    Raises:
        DockerError: Some may still be there.
    """
    with client(docker_host) as api:
        found = api.containers(all=True, filters={"label": f"{HOME_LABEL}={home}"})
        names = [str(one["Id"]) for one in found if one["Labels"].get(DAEMON_LABEL) != daemon]
        for name in names:
            _remove(api, name)
        return names


def _remove(api: docker.APIClient, name: str) -> None:
    """Remove one, and wait where that has begun already."""
    import docker.errors

    deadline = time.monotonic() + _GONE_SECONDS
    while True:
        try:
            api.remove_container(name, force=True, v=True)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            if error.status_code != 409 or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _pull(api: docker.APIClient, name: str, progress: FetchProgress) -> None:
    import docker.errors
    import docker.utils

    refused = f"image '{name}' is not on this machine and cannot be pulled"
    remedy = "Check its name, the network, and docker login; or bring it by docker load"
    repository, tag = docker.utils.parse_repository_tag(name)
    sizes: dict[str, int] = {}
    try:
        for event in api.pull(repository, tag=tag or "latest", stream=True, decode=True):
            if "error" in event:
                raise DockerError(f"{refused}: {_plain(event['error'])}", remedy=remedy)
            layer, told = str(event.get("id")), event.get("progressDetail") or {}
            if event.get("status") == "Downloading" and told.get("total"):
                sizes[layer] = int(told["total"])
                progress(layer, int(told.get("current") or 0), sizes[layer])
            elif event.get("status") == "Download complete" and layer in sizes:
                progress(layer, sizes[layer], sizes[layer])
    except docker.errors.APIError as error:
        raise DockerError(f"{refused}: {_plain(str(error.explanation or error))}", remedy=remedy) from error


def _plain(text: str) -> str:
    """Return the first line of what Docker says, without its own word for an error."""
    line = next(iter(text.strip().splitlines()), "")
    return line.removeprefix("Error response from daemon: ").rstrip(".")
