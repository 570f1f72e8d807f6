"""How the containers of a compose project are: running, ended with which code, or not there."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dmrc.docker_context import is_local

_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_ONE_OFF = "com.docker.compose.oneoff"
_ANSWER_SECONDS = 5
_BY_DOCKER_SECONDS = 15.0
# What `docker ps` says in English only: https://github.com/moby/moby/blob/master/container/state.go
_EXITED = re.compile(r"\w+ \((\d{1,3})\)")


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container of a service."""

    id: str
    """First 12 hex digits of its id."""
    service: str
    """Its compose service."""
    state: str
    """Docker's word: `running`, `exited`, `created`, `paused`, `restarting`, `removing`, `dead`."""
    status: str
    """The same with how long: `Up 3 minutes (healthy)`, `Exited (1) 5 seconds ago`."""
    exit_code: int | None
    """What it ended with; None while it runs."""


def container_states(docker_host: str, project: str) -> list[ContainerState] | None:
    """Return the containers of a project, those of `docker compose run` left out; None where Docker does not answer.

    Blocks for seconds where it does not. An engine on another machine is asked by Docker's own program.
    """
    import docker
    import docker.errors
    import requests

    labels = [f"{_PROJECT}={project}", f"{_ONE_OFF}=False"]
    if not is_local(docker_host):
        return _listed_by_docker(docker_host, labels)
    try:
        client = docker.APIClient(base_url=docker_host, timeout=_ANSWER_SECONDS)
        try:
            listed = client.containers(all=True, filters={"label": labels})
        finally:
            client.close()
    except (docker.errors.DockerException, requests.RequestException, OSError):
        return None
    return _sorted(state_of(one["Id"], one["Labels"].get(_SERVICE), one["State"], one["Status"]) for one in listed)


def _listed_by_docker(docker_host: str, labels: list[str]) -> list[ContainerState] | None:
    filters = [word for label in labels for word in ("--filter", f"label={label}")]
    command = ["docker", "--host", docker_host, "ps", "--all", "--no-trunc", *filters, "--format", "{{json .}}"]
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_BY_DOCKER_SECONDS
        )
        lines: list[Mapping[str, str]] = [json.loads(line) for line in asked.stdout.splitlines()]
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    if asked.returncode != 0:
        return None
    return _sorted(state_of(one["ID"], _label(one["Labels"]), one["State"], one["Status"]) for one in lines)


def _label(labels: str) -> str | None:
    pairs = (label.partition("=") for label in labels.split(","))
    return next((value for name, _, value in pairs if name == _SERVICE), None)


def state_of(id: str, service: str | None, state: str, status: str) -> ContainerState:
    """Return a container out of the words that Docker has for it."""
    exited = _EXITED.match(status) if state in ("exited", "dead") else None
    return ContainerState(id[:12], service or "", state, status, int(exited[1]) if exited else None)


def _sorted(states: Iterable[ContainerState]) -> list[ContainerState]:
    return sorted(states, key=lambda one: (one.service, one.id))
