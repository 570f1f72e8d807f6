"""A dmrc that knows the Docker engine and a tiny model, and compose projects for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.docker_engine import DockerEngine
from tests.tiny_gguf import write_tiny_llama
from tests.up.compose_project import TINY, ComposeProject

MakeProject = Callable[[str], ComposeProject]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF of a model that answers with made-up words."""
    return write_tiny_llama(tmp_path_factory.mktemp("tiny") / "tiny.gguf", context_length=2048)


@pytest.fixture(scope="module")
def shared_dmrc(docker_engine: DockerEngine, busybox: str, tiny: Path, needs_engine: None) -> Iterator[Dmrc]:
    """A dmrc for tests that do not disturb one another, with the tiny model in its store."""
    with temporary_dmrc() as dmrc:
        dmrc.environment |= docker_engine.environment
        dmrc.ok("package", "--gguf", tiny, TINY)
        yield dmrc


@pytest.fixture
def own_dmrc(dmrc: Dmrc, docker_engine: DockerEngine, busybox: str, tiny: Path, needs_engine: None) -> Dmrc:
    """A dmrc for one test, with the tiny model in its store."""
    dmrc.environment |= docker_engine.environment
    dmrc.ok("package", "--gguf", tiny, TINY)
    return dmrc


@pytest.fixture
def project(shared_dmrc: Dmrc, docker_engine: DockerEngine, tmp_path: Path) -> Iterator[MakeProject]:
    """Makes projects of the shared dmrc; all are down afterwards."""
    with _projects(shared_dmrc, docker_engine, tmp_path) as make:
        yield make


@pytest.fixture
def own_project(own_dmrc: Dmrc, docker_engine: DockerEngine, tmp_path: Path) -> Iterator[MakeProject]:
    """Makes projects of a dmrc for this test alone."""
    with _projects(own_dmrc, docker_engine, tmp_path) as make:
        yield make


@contextmanager
def _projects(dmrc: Dmrc, engine: DockerEngine, directory: Path) -> Iterator[MakeProject]:
    made: list[ComposeProject] = []

    def make(name: str) -> ComposeProject:
        made.append(ComposeProject(dmrc, engine, directory / name, name))
        return made[-1]

    yield make
    for project in made:
        if project.override.exists():
            project.down()
