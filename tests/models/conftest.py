"""A store with models for one test."""

from pathlib import Path

import pytest

from dmrc.models import Models
from dmrc.sources.credentials import DockerCredentials
from dmrc.sources.oci import OciSource
from dmrc.store import Store
from tests.tiny_gguf import write_tiny_llama


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A GGUF of a model that answers with made-up words."""
    return write_tiny_llama(tmp_path / "tiny.gguf", context_length=256)


def new_models(root: Path, default_registry: str = "docker.io") -> tuple[Store, Models]:
    """Return a store, and models that come into it from registries."""
    store = Store(root)
    source = OciSource(DockerCredentials(root / "no-docker"), default_registry=default_registry)
    return store, Models(store, lambda: [source], default_registry)


@pytest.fixture
def both(tmp_path: Path) -> tuple[Store, Models]:
    """A store, and models that come into it."""
    return new_models(tmp_path / "store")
