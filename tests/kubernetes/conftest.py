"""A compose project that is exported, as a user does it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc
from tests.groups import compose_binary
from tests.kubernetes.exporting import Exporter
from tests.tiny_gguf import write_tiny_llama

MODEL = "registry.example/me/tiny:v1"


@pytest.fixture
def exporter(dmrc: Dmrc, tmp_path: Path, needs_compose: None) -> Exporter:
    """A project directory, and a tiny model in the store as `registry.example/me/tiny:v1`."""
    dmrc.environment["PATH"] = f"{(compose_binary() or Path()).parent}:{os.environ['PATH']}"
    gguf = write_tiny_llama(tmp_path / "tiny.gguf")
    digest = dmrc.ok("package", "--gguf", gguf, MODEL).strip()
    project = tmp_path / "shop"
    project.mkdir()
    return Exporter(dmrc, project, digest)
