"""What of a project must not be recorded, as its files and the environment say together (#16, D4)."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from dmrc.cli.app import App
from dmrc.cli.projects.setup.read_project import read_project
from dmrc.cli.projects.setup.selection import Selection
from dmrc.hooks.plugins import Plugins
from dmrc.settings import Settings
from tests.groups import compose_binary

pytestmark = pytest.mark.compose

_PASSWORD = "hunter2-from-the-shell"


def _secrets(directory: Path, monkeypatch: pytest.MonkeyPatch, compose: str, env: str = "", **environ: str) -> set[str]:
    (directory / "compose.yaml").write_text(compose)
    (directory / ".env").write_text(env)
    monkeypatch.chdir(directory)
    monkeypatch.setenv("PATH", f"{(compose_binary() or directory).parent}:{os.environ['PATH']}")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    app = App(Settings.from_environment({"DMRC_HOME": str(directory / "home")}), Plugins([]))
    return set(read_project(app, Selection().options()).secrets)


_APP = "services: {app: {image: x, command: %s}}\n"


@pytest.mark.parametrize(
    ("command", "env"),
    [
        ('["serve", "--db", "${DB}"]', "DB=postgres://u:${PGPASSWORD}@db\n"),
        ('["serve", "--db", "postgres://u:${PGPASSWORD}@db"]', ""),
        ('"serve --db=postgres://u:${PGPASSWORD}@db"', ""),
        ('["--token", "${PGPASSWORD}"]', ""),
        ("\"sh -c 'TOKEN=${PGPASSWORD} serve'\"", ""),
    ],
)
def test_a_secret_of_the_environment_is_known_where_only_a_command_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, env: str
) -> None:
    assert _PASSWORD in _secrets(tmp_path, monkeypatch, _APP % command, env, PGPASSWORD=_PASSWORD)


@pytest.mark.parametrize("command", ['["--api-key=abcdef-literal-key"]', '["--api-key", "abcdef-literal-key"]'])
def test_one_that_stands_in_a_command_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    assert "abcdef-literal-key" in _secrets(tmp_path, monkeypatch, _APP % command)


def test_words_of_a_command_are_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = '["python", "-m", "http.server", "--bind", "0.0.0.0", "--directory=/srv/www", "http://example.com/x"]'

    assert _secrets(tmp_path, monkeypatch, _APP % command) == set()


def test_a_variable_of_the_environment_is_not_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        _secrets(tmp_path, monkeypatch, _APP % "x", "URL=http://${REGION_HERE}.example\n", REGION_HERE="eu-west")

    assert caplog.messages == []
