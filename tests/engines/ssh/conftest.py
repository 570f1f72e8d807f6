"""Two machines for the tests of a file, with the tiny model in the store there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.engines.ssh.hosted_project import HostedProject, package_there
from tests.ssh_host import SshHost, two_machines


@pytest.fixture(scope="module")
def box(needs_ssh: None, needs_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    """Two machines, for what leaves them as they were."""
    with two_machines() as host:
        package_there(host, tmp_path_factory.mktemp("models"))
        yield host


_NUMBERS = itertools.count(1)


@pytest.fixture
def hosted(box: SshHost) -> Iterator[Callable[..., HostedProject]]:
    """Make projects here, which are down at the end."""
    made: list[HostedProject] = []

    def make(model: str | None = None, **options: object) -> HostedProject:
        made.append(HostedProject(box, f"p{next(_NUMBERS)}", model, **options))
        return made[-1]

    yield make
    for project in made:
        project.down()
