"""Installed plugins are found as `importlib.metadata` finds them, and where there are none it is not imported."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path

import pytest

from dmrc.hooks import installed
from dmrc.hooks.installed import entry_points

_POINTS = "[console_scripts]\nshop = shop:main\n\n[dmrc]\nshop = a_plugin\n"
_METADATA = "Metadata-Version: 2.1\nName: shop\nVersion: 1\n"
_PRINT = """
import sys
from dmrc.hooks.installed import entry_points
print([entry.name for entry in entry_points("dmrc")], "importlib.metadata" in sys.modules)
"""


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python with no distributions at all."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [PathFinder])


def _distribution(directory: Path, name: str = "shop-1.dist-info", points: str = _POINTS) -> Path:
    (directory / name).mkdir(parents=True)
    (directory / name / "METADATA").write_text(_METADATA)
    (directory / name / "PKG-INFO").write_text(_METADATA)
    (directory / name / "entry_points.txt").write_text(points)
    return directory


def _found() -> list[tuple[str, str]]:
    return [(entry.name, entry.value) for entry in entry_points("dmrc")]


@pytest.mark.parametrize("name", ["shop-1.dist-info", "shop.egg-info", "Shop-1.dist-info"])
def test_what_brings_a_plugin_is_found_wherever_it_is_on_the_path(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").touch()
    other = _distribution(tmp_path / "other", "other-1.dist-info", "[console_scripts]\nother = other:main\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "none"), str(other), str(_distribution(tmp_path / "here", name))])

    assert _found() == [("shop", "a_plugin")]


def test_one_that_came_a_moment_ago_is_found(alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    before = _found()

    _distribution(tmp_path)

    assert (before, _found()) == ([], [("shop", "a_plugin")])


@pytest.mark.parametrize("egg", ["shop-1.egg", "shop-1"])
def test_of_two_with_one_name_the_first_on_the_path_counts(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, egg: str
) -> None:
    (tmp_path / egg).mkdir()
    without = _distribution(tmp_path / "without", "shop-2.dist-info", "[console_scripts]\nshop = shop:main\n")
    brings = _distribution(tmp_path / "with")
    monkeypatch.setattr(sys, "path", [str(tmp_path / egg), str(without), str(brings)])
    hidden = _found()
    monkeypatch.setattr(sys, "path", [str(tmp_path / egg), str(brings), str(without)])

    assert (hidden, _found()) == ([], [("shop", "a_plugin")])


def test_what_is_found_tells_its_distribution(alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(_distribution(tmp_path))])

    (entry,) = entry_points("dmrc")

    assert entry.dist is not None
    assert (entry.dist.name, entry.dist.version) == ("shop", "1")


def test_one_in_an_archive_is_found(alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as archive:
        archive.writestr("shop-1.dist-info/METADATA", _METADATA)
        archive.writestr("shop-1.dist-info/entry_points.txt", _POINTS)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "shop.zip")])

    assert _found() == [("shop", "a_plugin")]


def test_one_that_only_another_finder_knows_is_found(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(DistributionFinder):
        def find_distributions(self, context: object = None) -> Iterator[Distribution]:
            yield Distribution.at(_distribution(tmp_path) / "shop-1.dist-info")

        def find_spec(self, *_: object) -> None:
            return None

    monkeypatch.setattr(sys, "meta_path", [PathFinder, Elsewhere()])

    assert _found() == [("shop", "a_plugin")]


@pytest.mark.parametrize("group", ["dmrc", "console_scripts", "pytest11"])
def test_here_it_is_as_metadata_finds_it(group: str) -> None:
    expected = [(entry.name, entry.value) for entry in metadata.entry_points(group=group)]

    assert sorted((entry.name, entry.value) for entry in entry_points(group)) == sorted(expected)


@pytest.mark.process
def test_without_a_plugin_nothing_heavy_is_imported(tmp_path: Path) -> None:
    """A Python whose path has `dmrc` and no distribution: `importlib.metadata` alone takes 14 ms to import."""
    (tmp_path / "dmrc" / "hooks").mkdir(parents=True)
    shutil.copy(installed.__file__, tmp_path / "dmrc" / "hooks")

    done = subprocess.run([sys.executable, "-S", "-c", _PRINT], cwd=tmp_path, capture_output=True, text=True)

    assert done.stdout == "[] False\n", done.stderr
