"""Paths under `x-dmrc`: where they begin, and where they may lead (#16, A9 and D5)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from tests.dmrc_command import Dmrc
from tests.groups import compose_binary

_TEMPLATE = "{{ messages[0].content }}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "shop"
    directory.mkdir()
    (directory / "tpl.jinja").write_text(_TEMPLATE)
    (tmp_path / "outside.jinja").write_text(_TEMPLATE)
    (directory / "link.jinja").symlink_to(tmp_path / "outside.jinja")
    (directory / "inner.jinja").symlink_to("tpl.jinja")
    (directory / "circle").symlink_to("circle")
    (directory / "folder").mkdir()
    os.mkfifo(directory / "pipe")
    return directory


def _write(directory: Path, **options: object) -> None:
    top = {name: options.pop(name) for name in ("plugins",) if name in options}
    document = {
        "name": "shop",
        "services": {"app": {"image": "x", "models": ["llm"]}},
        "models": {"llm": {"model": "ai/x", "x-dmrc": options}},
        "x-dmrc": top,
    }
    (directory / "compose.yaml").write_text(yaml.safe_dump(document))


@pytest.mark.parametrize("option", ["chat_template", "mmproj", "draft", "lora", "plugins"])
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/etc/passwd", "lies outside of the project"),
        ("../outside.jinja", "lies outside of the project"),
        ("./link.jinja", "outside.jinja', lies outside of the project"),
        ("./pipe", "is a pipe, and no file"),
        ("/dev/zero", "is a device, and no file"),
        ("./folder", "is a directory, and no file"),
        ("./tpl\0.jinja", "its name holds a NUL"),
    ],
)
def test_what_is_no_file_of_the_project_is_refused_at_once(
    dmrc: Dmrc, project: Path, option: str, path: str, words: str
) -> None:
    _write(project, **{option: [path] if option in ("lora", "plugins") else path})

    refused = dmrc.run("config", cwd=project, timeout=20)

    assert refused.returncode == 2
    assert words in refused.stderr
    assert f"x-dmrc.{option}" in refused.stderr


@pytest.mark.parametrize("option", ["chat_template", "plugins"])
def test_a_text_without_end_is_not_read(dmrc: Dmrc, project: Path, option: str) -> None:
    """A file of 20 GB that takes no room on the disk: the daemon would read it whole."""
    with (project / "huge").open("wb") as file:
        file.truncate(20 << 30)
    _write(project, **{option: ["./huge"] if option == "plugins" else "./huge"})

    refused = dmrc.run("config", cwd=project, timeout=20)

    assert refused.returncode == 2
    assert f"x-dmrc.{option}: '{project}/huge' has 21474836480 bytes" in refused.stderr


def test_a_plugin_whose_name_is_too_long_is_skipped_with_a_line(dmrc: Dmrc, project: Path) -> None:
    _write(project, plugins=["./" + "a" * 300])

    found = dmrc.run("config", cwd=project)

    assert found.returncode == 0
    assert "is skipped: it cannot be read: File name too long" in found.stderr


@pytest.mark.parametrize("path", ["./gone", "./circle"])
def test_what_cannot_be_read_is_said(dmrc: Dmrc, project: Path, path: str) -> None:
    _write(project, chat_template=path)

    assert "cannot be read" in dmrc.run("config", cwd=project).stderr


@pytest.mark.parametrize("path", ["./tpl.jinja", "tpl.jinja", "./inner.jinja", "./folder/../tpl.jinja"])
def test_a_file_of_the_project_is_taken(dmrc: Dmrc, project: Path, path: str) -> None:
    _write(project, chat_template=path)

    found = dmrc.run("config", cwd=project)

    assert (found.returncode, found.stderr) == (0, "")


def test_the_user_may_allow_a_directory_and_the_file_may_not(dmrc: Dmrc, project: Path) -> None:
    _write(project, chat_template="../outside.jinja")

    dmrc.ok("config", "--allow-path", "..", cwd=project)
    dmrc.ok("config", cwd=project, env={"DMRC_ALLOW_PATHS": f"/nowhere:{project.parent}"})

    assert "--allow-path" in dmrc.run("config", cwd=project).stderr
    _write(project, allow_paths=[".."], chat_template="../outside.jinja")
    assert "has no field 'allow_paths'" in dmrc.run("config", cwd=project).stderr


def test_project_directory_says_where_relative_paths_begin(dmrc: Dmrc, project: Path, tmp_path: Path) -> None:
    _write(project, chat_template="tpl.jinja")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (project / "compose.yaml").rename(elsewhere / "compose.yaml")
    (project / ".env").write_text("NAME=given\n")

    found = dmrc.run("config", "-f", elsewhere / "compose.yaml", "--project-directory", project, cwd=tmp_path)

    assert found.returncode == 0, found.stderr
    assert dmrc.run("config", "-f", elsewhere / "compose.yaml", cwd=tmp_path).returncode == 2


def test_project_directory_is_where_the_compose_file_is_looked_for(dmrc: Dmrc, project: Path, tmp_path: Path) -> None:
    _write(project, chat_template="tpl.jinja")

    assert '"project": "shop"' in dmrc.ok("config", "--json", "--project-directory", "shop", cwd=tmp_path)


@pytest.mark.compose
def test_in_an_included_file_a_path_begins_at_its_folder(dmrc: Dmrc, project: Path, tmp_path: Path) -> None:
    """As Compose has it for volumes; it began at the root file's folder."""
    _write(project, chat_template="./tpl.jinja")
    root = {"name": "root", "include": [{"path": ["${WHERE}/compose.yaml"]}], "services": {"db": {"image": "x"}}}
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(root))
    path = f"{(compose_binary() or tmp_path).parent}:{os.environ['PATH']}"

    found = dmrc.run("config", cwd=tmp_path, env={"PATH": path, "WHERE": "shop"})

    assert found.returncode == 0, found.stderr
    (project / "tpl.jinja").unlink()
    gone = dmrc.run("config", cwd=tmp_path, env={"PATH": path, "WHERE": "shop"})
    assert f"'{project}/tpl.jinja' cannot be read" in gone.stderr
