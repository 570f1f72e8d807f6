"""The plugin that plugins/README.md shows, installed as the page says, does what the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dmrc as dmrc_package

PAGE = (Path(__file__).parent.parent.parent / "plugins" / "README.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def install(directory: Path) -> None:
    """Lay the plugin out as an installer does: the module, and the entry points of its distribution."""
    (directory / "hello.py").write_text(block("python"))
    metadata = directory / "dmrc_hello-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: dmrc-hello\nVersion: 1.0\n")
    entry_points = block("toml").split("[project.entry-points.dmrc]")[1].replace('"', "")
    (metadata / "entry_points.txt").write_text(f"[dmrc]{entry_points}")


def dmrc(directory: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(directory), **more}
    command = [sys.executable, "-m", "dmrc", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.process
def test_the_command_of_the_plugin_says_what_the_page_shows(tmp_path: Path) -> None:
    install(tmp_path)
    _, output = block("console").splitlines()

    ran = dmrc(tmp_path, "hello")

    assert (ran.returncode, ran.stdout.strip()) == (0, output), ran.stderr
    assert "hello" in dmrc(tmp_path, "--help").stdout


@pytest.mark.process
def test_the_plugin_needs_no_installing(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(block("python"))
    command, output = block("console").splitlines()

    ran = subprocess.run(
        command.removeprefix("$ ").replace(" dmrc ", f" {sys.executable} -m dmrc "),
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (ran.returncode, ran.stdout.strip()) == (0, output), ran.stderr


def test_the_page_names_what_a_plugin_may_import_and_the_plugins_that_are_there() -> None:
    exported = set(dmrc_package.__all__) - {"__version__"}
    here = {path.parent.name for path in Path(__file__).parent.parent.parent.glob("plugins/*/pyproject.toml")}

    assert all(f"`{name}`" in PAGE for name in exported)
    assert set(re.findall(r"^\| \[(dmrc-\w+)\]", PAGE, re.MULTILINE)) == here


@pytest.mark.process
def test_settings_can_leave_it_out(tmp_path: Path) -> None:
    install(tmp_path)

    ran = dmrc(tmp_path, "hello", DMRC_PLUGINS="other")

    assert ran.returncode == 2
    assert "no such command 'hello'" in ran.stderr


@pytest.mark.process
def test_a_plugin_that_does_not_import_is_named_and_everything_else_works(tmp_path: Path) -> None:
    install(tmp_path)
    (tmp_path / "hello.py").write_text("import nothing_of_that_name\n")

    ran = dmrc(tmp_path, "list")

    assert ran.returncode == 0
    assert "plugin 'hello' is skipped: ModuleNotFoundError" in ran.stderr
