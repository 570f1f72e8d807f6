"""A tiny model and a project for the commands."""

from pathlib import Path

import pytest

from tests.cli.refusals import write_project
from tests.dmrc_command import Dmrc
from tests.tiny_gguf import write_tiny_llama

_MODEL = "me/tiny"


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def tiny(dmrc: Dmrc, gguf: Path) -> str:
    """The name of a model in the store; its context makes its answers short."""
    dmrc.ok("package", "--gguf", gguf, "--context-size", "64", _MODEL)
    return _MODEL


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "shop", _MODEL, "context_size: 64")
