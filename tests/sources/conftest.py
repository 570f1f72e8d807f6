"""A source, and a store to pull into."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dmrc.sources.credentials import DockerCredentials
from dmrc.sources.oci import OciSource
from dmrc.store import Store
from tests.dmrc_command import Dmrc
from tests.sources.hugging_face import HuggingFace, Repository, Serve, hugging_face


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def docker_config(tmp_path: Path) -> Path:
    (tmp_path / "docker").mkdir()
    return tmp_path / "docker"


@pytest.fixture
def source(docker_config: Path) -> OciSource:
    return OciSource(DockerCredentials(docker_config))


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once."""
    monkeypatch.setattr("dmrc.sources.retry._FIRST_DELAY_SECONDS", 0.001)


@pytest.fixture
def serve(dmrc: Dmrc) -> Iterator[Serve]:
    """Serves repositories, and makes dmrc take them for Hugging Face."""
    with ExitStack() as stack:

        def start(**repositories: Repository) -> HuggingFace:
            named = {name.replace("__", "/"): repository for name, repository in repositories.items()}
            server = stack.enter_context(hugging_face(named))
            dmrc.environment |= {"HF_ENDPOINT": server.url, "HF_HOME": str(dmrc.home / "hf"), "HF_TOKEN": ""}
            return server

        yield start
