"""The plugins of this repository as a user installs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc

_PLUGINS = Path(__file__).parents[2] / "plugins"
NAMES = sorted(path.parent.name for path in _PLUGINS.glob("*/pyproject.toml"))


def test_there_are_plugins() -> None:
    assert NAMES == ["dmrc-jsonl", "dmrc-limits", "dmrc-otel"]


@pytest.mark.parametrize("name", NAMES)
def test_a_plugin_that_pip_has_installed_is_loaded(name: str, tmp_path: Path, dmrc: Dmrc) -> None:
    target = tmp_path / "packages"
    install = ["pip", "install", "--quiet", "--no-deps", "--target", target]
    # A copy, for the build leaves files beside the source.
    source = tmp_path / name
    subprocess.run(["cp", "-r", _PLUGINS / name, source], check=True)
    subprocess.run([sys.executable, "-m", *install, source], check=True, capture_output=True)

    listed = json.loads(dmrc.ok("plugins", "--json", env={"PYTHONPATH": str(target)}))

    (plugin,) = [each for each in listed if each["name"] == name.removeprefix("dmrc-")]
    assert plugin["state"] == "loaded"
    assert name in plugin["from"]
