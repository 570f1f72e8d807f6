"""What the keeper of a container is told, and where the container finds what it needs."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

KEEPER = (sys.executable, "-P", "-m", "dmrc.engines.container.keeper")
"""The command that runs a container; its one argument is an `Order`."""

AUTO = "auto"
"""In place of an image: the one of llama.cpp that fits this machine's graphics card."""

RUN = "/run/dmrc"
"""Directory of the container in which its server makes its unix socket."""

SOCKET_NAME = "e.sock"
"""Name of that socket: llama.cpp wants the ending, and the whole path may have 107 bytes."""

SOCKET = f"{RUN}/{SOCKET_NAME}"
"""Where a server in the container listens."""

PORT = 8000
"""Where it listens that knows TCP alone: of the container's own loopback, so that it is free."""

HOME_LABEL = "io.dmrc.home"
"""Label of each container: the state directory of its daemon."""

DAEMON_LABEL = "io.dmrc.daemon"
"""Label of each container: the process ID of its daemon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One container to run."""

    docker_host: str
    """Address of the Docker engine: `unix:///…`."""
    docker_config: str | None
    """Directory of Docker's settings with the logins of registries; None for the usual one."""
    name: str
    """Its name, of which there is no other one."""
    image: str
    """Its image, or `auto`."""
    command: list[str]
    """What its entry point is given."""
    environment: dict[str, str]
    """Variables that it gets beside those of its image."""
    mounts: list[list[str]]
    """Files and directories that it may read: the path here, and the path there."""
    directory: str
    """Directory of this machine that is `/run/dmrc` there; gone when the container is."""
    pid_file: str
    """File that gets the process ID of its server, as this machine has it."""
    has_port: bool
    """Whether its server listens on a port and knows no unix socket."""
    uses_card: bool
    """Whether it is given the graphics cards of this machine."""
    memory_bytes: int | None
    """Most memory that it may have; None where nobody knows what it takes."""
    labels: dict[str, str]
    """Labels of the container."""

    def to_json(self) -> str:
        """Return it as the keeper reads it from its command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """Read what `to_json` returned."""
        return cls(**json.loads(text))


def container_name(home: Path, runner: str) -> str:
    """Return the name of the container of a runner: each state directory has names of its own."""
    return f"dmrc-{hashlib.sha256(os.fsencode(home)).hexdigest()[:8]}-{runner}"


def labels(home: Path, daemon: int) -> dict[str, str]:
    """Return the labels of a container that the daemon of a state directory starts."""
    return {HOME_LABEL: str(home), DAEMON_LABEL: str(daemon)}
