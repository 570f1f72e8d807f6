"""The daemon's database as another version of dmrc, another program or a full disk left it."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dmrc.errors import StoreError
from dmrc.project import ServingOptions
from dmrc.projects import Projects
from dmrc.scheduler.configuration import Configurations
from tests.small_disk import fill, small_disk
from tests.test_projects import registration

_ROW = "INSERT INTO project VALUES (?, ?)"


def _written(path: Path, *texts: str | bytes) -> Path:
    """Return the database of a dmrc with one good project and these rows beside it."""
    projects = Projects(path)
    projects.register(registration())
    projects.close()
    with sqlite3.connect(path) as database:
        for number, text in enumerate(texts):
            database.execute(_ROW, (f"bad{number}", text))
            database.execute("INSERT INTO service_key VALUES (?, ?, 'web')", (f"{number:064}", f"bad{number}"))
    return path


def test_fields_of_a_newer_version_are_ignored_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = json.loads(registration("newer", "sk-dmrc-newer").to_json())
    document["colour"] = "blue"
    next(iter(document["models"].values()))["smell"] = "of roses"
    path = _written(tmp_path / "projects.sqlite3")
    with sqlite3.connect(path) as database:
        database.execute(_ROW, ("newer", json.dumps(document)))
        database.execute("PRAGMA user_version = 99")

    projects = Projects(path)

    assert [known.name for known in projects.all()] == ["demo", "newer"]
    assert "is of a newer dmrc (schema 99" in caplog.text
    assert "ignores: colour" in caplog.text
    assert "ignores: smell" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "{}",
            "[]",
            "null",
            "5",
            "",
            "{",
            '{"models": 5, "services": {}}',
            '{"name": "x", "models": {}, "services": 1}',
        ),
        '{"name": "x", "directory": "/x", "models": {"a": {"nothing": 1}}, "services": {}}',
        '{"name": "x", "directory": "/x", "models": {}, "services": {"web": ["absent"]}}',
        b"\xff\xfe\x00",
    ],
)
def test_a_row_that_cannot_be_read_costs_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | bytes
) -> None:
    path = _written(tmp_path / "projects.sqlite3", text)

    projects = Projects(path)

    assert [known.name for known in projects.all()] == ["demo"]
    assert projects.caller("sk-dmrc-1") is not None
    assert "project 'bad0' is not known any more" in caplog.text
    projects.register(registration("bad0", "sk-dmrc-again"))
    assert projects.caller("sk-dmrc-again") is not None


def test_a_configuration_that_cannot_be_read_costs_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "projects.sqlite3"
    before = Configurations(path)
    before.set(None, "docker.io/ai/x:latest", ServingOptions(context_size=512))
    before.close()
    with sqlite3.connect(path) as database:
        insert = "INSERT INTO configuration VALUES ('', ?, ?)"
        database.execute(insert, ("bad", "[1"))
        database.execute(insert, ("newer", '{"context_size": 256, "colour": "blue"}'))

    configurations = Configurations(path)

    assert configurations.of(None, "docker.io/ai/x:latest").context_size == 512
    assert configurations.of(None, "newer").context_size == 256
    assert configurations.of(None, "bad") == ServingOptions()
    assert "configured for model 'bad'" in caplog.text


def test_what_is_written_says_its_version_and_an_older_file_is_taken_over(tmp_path: Path) -> None:
    path = _written(tmp_path / "projects.sqlite3")
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 0")  # as before there were versions

    projects = Projects(path)

    assert [known.name for known in projects.all()] == ["demo"]
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)


@pytest.fixture
def disk(tmp_path: Path, needs_tmpfs: None) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as path:
        yield path


def test_a_full_disk_is_told_as_one_and_changes_nothing(disk: Path) -> None:
    projects, configurations = Projects(disk / "projects.sqlite3"), Configurations(disk / "projects.sqlite3")
    projects.register(registration())
    fill(disk)

    large = replace(registration("other", "sk-dmrc-other"), directory="/" + "x" * 100_000)
    with pytest.raises(StoreError, match=r"cannot be written: .*full"):
        projects.register(large)
    with pytest.raises(StoreError, match=r"cannot be written: .*full"):
        configurations.set(None, "m" * 100_000, ServingOptions(context_size=512))

    assert [known.name for known in projects.all()] == ["demo"]
    assert configurations.all() == {}
    projects.close()
    configurations.close()
