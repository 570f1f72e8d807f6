"""dmrc as Docker starts it: the installed plugin `docker-model`, called by `docker`."""

from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc
from tests.tiny_gguf import write_tiny_llama


@pytest.fixture
def docker_model(dmrc: Dmrc, tmp_path: Path) -> Dmrc:
    """A dmrc whose commands are those of `docker model`."""
    return as_docker_model(dmrc, tmp_path / "docker")


def as_docker_model(dmrc: Dmrc, configuration: Path) -> Dmrc:
    """Install the plugin of a dmrc into a configuration of Docker, and return it with the plugin as its program."""
    dmrc.environment["DOCKER_CONFIG"] = str(configuration)
    dmrc.ok("plugin", "install")
    dmrc.environment["DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"] = "docker"
    dmrc.program = configuration / "cli-plugins" / "docker-model"
    return dmrc


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF of a model that answers with made-up words."""
    return write_tiny_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf")
