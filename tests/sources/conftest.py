"""A source, and a store to pull into."""

from pathlib import Path

import pytest

from dmrc.sources.credentials import DockerCredentials
from dmrc.sources.oci import OciSource
from dmrc.store import Store


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
