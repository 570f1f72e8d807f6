"""What a container gets of this machine: the Docker engine that runs it, and variables."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from dmrc.docker_context import local_docker_endpoint
from dmrc.engines.environment import child_environment
from dmrc.errors import DockerError

_PASSED_ON = ("GGML_", "GOMP_", "OMP_", "CUDA_VISIBLE_", "HIP_VISIBLE_", "ROCR_VISIBLE_")
# A home that can be written, and a name for who has none in the image: some servers ask for both.
_ENVIRONMENT = {"HOME": "/tmp", "USER": "dmrc", "LOGNAME": "dmrc", "HF_HUB_OFFLINE": "1"}  # noqa: S108 in the container


def docker_host() -> str:
    """Return the address of the user's Docker engine.

    Raises:
        DockerError: It is on another machine, or listens on TCP: nobody knows then whether it sees files of this one.
    """
    host = local_docker_endpoint(os.environ).host
    if urlsplit(host).scheme != "unix":
        raise DockerError(
            f"engine 'container' needs a Docker Engine with a unix socket, not '{host}'",
            remedy="Run: docker context use default, or unset DOCKER_HOST",
        )
    return host


def environment() -> dict[str, str]:
    """Return the variables of a container: of this machine's only those that say how to compute."""
    here = child_environment(os.environ)
    return {**{name: value for name, value in here.items() if name.startswith(_PASSED_ON)}, **_ENVIRONMENT}
