"""The plugins of this repository as pip installs them: their wheels, and what dmrc finds of them."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc

PLUGINS = Path(__file__).parent.parent / "plugins"
HOOKS = {
    "jsonl": ["dmrc_exchange_completed"],
    "limits": ["dmrc_exchange_completed", "dmrc_request"],
    "otel": ["dmrc_exchange_completed"],
}


def pip(*arguments: str | Path) -> None:
    """Run pip without the network; setuptools builds in this environment."""
    offline = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    done = subprocess.run([sys.executable, "-m", "pip", *arguments, *offline], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory, needs_process: None) -> list[Path]:
    """The wheels, built from copies: a build leaves files beside its sources."""
    directory = tmp_path_factory.mktemp("wheels")
    copies = [shutil.copytree(PLUGINS / f"dmrc-{name}", directory / f"dmrc-{name}") for name in HOOKS]
    pip("wheel", "--no-build-isolation", "--wheel-dir", directory, *copies)
    return sorted(directory.glob("*.whl"))


def test_each_wheel_holds_its_one_module_and_names_it(wheels: list[Path]) -> None:
    assert len(wheels) == len(HOOKS)
    for wheel, name in zip(wheels, HOOKS, strict=True):
        with zipfile.ZipFile(wheel) as archive:
            modules = [each for each in archive.namelist() if each.endswith(".py")]
            (points,) = [each for each in archive.namelist() if each.endswith("entry_points.txt")]
            parser = configparser.ConfigParser()
            parser.read_string(archive.read(points).decode())
        assert modules == [f"dmrc_{name}.py"]
        assert dict(parser["dmrc"]) == {name: f"dmrc_{name}"}


def test_installed_they_are_found_loaded_and_listed(wheels: list[Path], dmrc: Dmrc, tmp_path: Path) -> None:
    pip("install", "--target", tmp_path, *wheels)

    listed = json.loads(dmrc.ok("plugins", "--json", env={"PYTHONPATH": str(tmp_path), "OTEL_SDK_DISABLED": "true"}))

    found = {each["name"]: each for each in listed}
    for name, hooks in HOOKS.items():
        plugin = found[name]
        assert (plugin["from"], plugin["version"], plugin["state"]) == (f"dmrc-{name}", "0.1.0", "loaded"), plugin
        assert sorted(plugin["hooks"]) == hooks
