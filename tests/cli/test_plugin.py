import json
import subprocess
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc


@pytest.fixture
def config(dmrc: Dmrc, tmp_path: Path) -> Path:
    dmrc.environment["DOCKER_CONFIG"] = str(tmp_path / "docker")
    return tmp_path / "docker"


def test_install_writes_a_plugin_that_docker_takes(dmrc: Dmrc, config: Path) -> None:
    dmrc.ok("plugin", "install")

    plugin = config / "cli-plugins" / "docker-model"
    said = subprocess.run([plugin, "docker-cli-plugin-metadata"], capture_output=True, text=True, check=True).stdout
    metadata = json.loads(said)
    assert metadata["SchemaVersion"] == "0.1.0"
    # Below this Compose drops runtime_flags without a word.
    assert tuple(map(int, metadata["Version"].removeprefix("v").split("."))) >= (1, 0, 6)
    assert json.loads(dmrc.ok("plugin", "status", "--json")) == {"installed": True, "path": str(plugin), "kept": None}


def test_uninstall_removes_it(dmrc: Dmrc, config: Path) -> None:
    dmrc.ok("plugin", "install")

    dmrc.ok("plugin", "uninstall")

    assert list((config / "cli-plugins").iterdir()) == []
    assert dmrc.run("plugin", "status").returncode == 1


@pytest.mark.parametrize("is_a_link", [False, True])
def test_another_plugin_is_kept_and_restored(dmrc: Dmrc, config: Path, is_a_link: bool, tmp_path: Path) -> None:
    """Docker Desktop's is a link into its application, which must stay a link, even while that is away."""
    other = config / "cli-plugins" / "docker-model"
    other.parent.mkdir(parents=True)
    if is_a_link:
        other.symlink_to(tmp_path / "application" / "docker-model")
    else:
        other.write_bytes(b"\x7fELF\xff")

    dmrc.ok("plugin", "install")
    dmrc.ok("plugin", "install")
    assert "plugin install" in other.read_text()
    dmrc.ok("plugin", "uninstall")

    assert other.is_symlink() == is_a_link
    assert is_a_link or other.read_bytes() == b"\x7fELF\xff"


def test_uninstall_touches_no_other_plugin(dmrc: Dmrc, config: Path) -> None:
    other = config / "cli-plugins" / "docker-model"
    other.parent.mkdir(parents=True)
    other.write_text("#!/bin/sh\n")

    done = dmrc.run("plugin", "uninstall")

    assert (done.returncode, done.stderr) == (1, "dmrc is not installed as docker-model\n")
    assert other.read_text() == "#!/bin/sh\n"


def test_a_directory_that_cannot_be_written_is_named(dmrc: Dmrc, config: Path) -> None:
    config.write_text("a file where a directory should be")

    done = dmrc.run("plugin", "install")

    assert done.returncode == 6
    assert "cannot be written" in done.stderr
