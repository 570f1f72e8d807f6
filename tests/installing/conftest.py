"""A state directory for builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmrc.engines.builds.builds import Builds
from dmrc.installing.install import Installer


@pytest.fixture
def builds(tmp_path: Path) -> Builds:
    return Builds(tmp_path / "engines")


@pytest.fixture
def installer(builds: Builds, tmp_path: Path, needs_process: None) -> Installer:
    return Installer(builds, tmp_path, seconds=60)
