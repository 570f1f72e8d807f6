"""Images of servers, and a dmrc that knows the Docker engine which has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.docker_engine import DockerEngine


@pytest.fixture(scope="module")
def container_dmrc(docker_engine: DockerEngine, smollm2: Path, needs_process: None) -> Iterator[Dmrc]:
    """A dmrc that knows the Docker engine, with a model that talks, and tiny ones."""
    with temporary_dmrc() as dmrc:
        dmrc.environment |= docker_engine.environment
        dmrc.ok("package", "--gguf", smollm2, "local/smollm2")
        yield dmrc
        dmrc.stop()
        assert not containers(docker_engine, dmrc), "the tests have left containers"


@pytest.fixture
def own_container_dmrc(dmrc: Dmrc, docker_engine: DockerEngine, smollm2: Path) -> Dmrc:
    """A dmrc for one test."""
    dmrc.environment |= docker_engine.environment
    dmrc.ok("package", "--gguf", smollm2, "local/smollm2")
    return dmrc


def containers(engine: DockerEngine, dmrc: Dmrc) -> list[str]:
    """Return the containers of a dmrc, those that have ended too."""
    return engine.docker("ps", "--all", "--quiet", "--filter", f"label=io.dmrc.home={dmrc.home}").split()
