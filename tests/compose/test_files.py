"""Which files make a project: the real Compose is asked which of them it used."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from dmrc.compose.files import command_environ, compose_files
from dmrc.compose.without_docker.loader import load
from dmrc.errors import ProjectError


@pytest.fixture(scope="session")
def compose_binary(needs_compose: None) -> str:
    """The real Compose: beside this Python, or on PATH."""
    beside = Path(sys.executable).with_name("docker-compose")
    found = str(beside) if beside.is_file() else shutil.which("docker-compose")
    assert found, "docker-compose is not installed: leave these tests out with -m 'not compose'"
    return found


def write(directory: Path, names: Sequence[str]) -> None:
    """Write compose files of which each leaves its name in an extension of its own."""
    for number, name in enumerate(names):
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"x-{number}: {name}\n")


def used(binary: str, directory: Path, options: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the names that the real Compose leaves of the files written by `write`, sorted."""
    ran = subprocess.run(
        [binary, *options, "config"], cwd=directory, env=dict(environ), capture_output=True, text=True, check=True
    )
    return sorted(value for key, value in yaml.safe_load(ran.stdout).items() if key.startswith("x-"))


@pytest.mark.parametrize(
    "names",
    [
        ["compose.yaml"],
        ["compose.yml"],
        ["docker-compose.yml"],
        ["docker-compose.yaml"],
        ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"],
        ["docker-compose.yaml", "docker-compose.yml"],
        ["compose.yml", "docker-compose.yml"],
        ["compose.yaml", "compose.override.yaml"],
        ["compose.yaml", "compose.override.yaml", "compose.override.yml"],
        ["compose.yaml", "docker-compose.override.yaml", "docker-compose.override.yml"],
        ["docker-compose.yml", "compose.override.yaml", "docker-compose.override.yml"],
    ],
    ids=" ".join,
)
def test_discovery_takes_the_files_that_compose_takes(names: list[str], tmp_path: Path, compose_binary: str) -> None:
    write(tmp_path, names)

    files = compose_files(tmp_path, (), {})

    assert sorted(file.name for file in files) == used(compose_binary, tmp_path, (), {})


def test_discovery_goes_up_and_takes_the_override_from_there(tmp_path: Path, compose_binary: str) -> None:
    write(tmp_path, ["compose.yml", "compose.override.yml", "a/compose.override.yaml"])
    (tmp_path / "a" / "b").mkdir()

    files = compose_files(tmp_path / "a" / "b", (), {})

    assert files == (tmp_path / "compose.yml", tmp_path / "compose.override.yml")
    assert used(compose_binary, tmp_path / "a" / "b", (), {}) == ["compose.override.yml", "compose.yml"]


def test_named_files_leave_the_override_out(tmp_path: Path, compose_binary: str) -> None:
    write(tmp_path, ["compose.yaml", "compose.override.yaml", "sub/b.yaml"])
    (tmp_path / "work").mkdir()

    files = compose_files(tmp_path / "work", ["../sub/b.yaml", "../compose.yaml"], {"COMPOSE_FILE": "nothing"})

    assert files == (tmp_path / "sub" / "b.yaml", tmp_path / "compose.yaml")
    options = ["-f", "../sub/b.yaml", "-f", "../compose.yaml"]
    assert used(compose_binary, tmp_path / "work", options, {}) == ["compose.yaml", "sub/b.yaml"]


@pytest.mark.parametrize(
    ("environ", "dotenv"),
    [
        ({"COMPOSE_FILE": f"a.yaml{os.pathsep}sub/b.yaml"}, ""),
        ({"COMPOSE_FILE": "a.yaml,sub/b.yaml", "COMPOSE_PATH_SEPARATOR": ","}, ""),
        ({}, f"COMPOSE_FILE=a.yaml{os.pathsep}sub/b.yaml"),
        ({}, "COMPOSE_FILE=a.yaml;sub/b.yaml\nCOMPOSE_PATH_SEPARATOR=;"),
        ({"COMPOSE_FILE": f"sub/b.yaml{os.pathsep}a.yaml"}, "COMPOSE_FILE=compose.yaml"),
    ],
    ids=str,
)
def test_compose_file_is_read_from_the_environment_and_from_dotenv(
    environ: dict[str, str], dotenv: str, tmp_path: Path, compose_binary: str
) -> None:
    write(tmp_path, ["compose.yaml", "a.yaml", "sub/b.yaml"])
    (tmp_path / ".env").write_text(dotenv)

    files = compose_files(tmp_path, (), environ)

    assert set(files) == {tmp_path / "a.yaml", tmp_path / "sub" / "b.yaml"}
    assert used(compose_binary, tmp_path, (), environ) == ["a.yaml", "sub/b.yaml"]


def test_compose_file_is_read_from_a_named_env_file(tmp_path: Path, compose_binary: str) -> None:
    write(tmp_path, ["compose.yaml", "a.yaml"])
    (tmp_path / ".env").write_text("COMPOSE_FILE=compose.yaml\n")
    (tmp_path / "other.env").write_text("COMPOSE_FILE=a.yaml\n")

    files = compose_files(tmp_path, (), {}, [tmp_path / "other.env"])

    assert files == (tmp_path / "a.yaml",)
    assert used(compose_binary, tmp_path, ["--env-file", "other.env"], {}) == ["a.yaml"]


def test_dotenv_of_the_command_wins_over_that_of_the_project(tmp_path: Path, compose_binary: str) -> None:
    """Compose reads both when the compose file was found above; with -f only the project's."""
    (tmp_path / "compose.yaml").write_text("name: p\nx-a: ${A-} ${B-} ${C-}\n")
    (tmp_path / ".env").write_text("A=project\nB=${A}b\n")
    below = tmp_path / "below"
    below.mkdir()
    (below / ".env").write_text("A=command\nC=c\n")

    def read(given: Sequence[str]) -> object:
        files = compose_files(below, given, {})
        return load(files, environ=command_environ(below, given, {}))["x-a"]

    assert [read(())] == used(compose_binary, below, (), {}) == ["command commandb c"]
    assert [read(["../compose.yaml"])] == used(compose_binary, below, ["-f", "../compose.yaml"], {})
    assert read(["../compose.yaml"]) == "project projectb "


def test_compose_env_files_names_the_env_files(tmp_path: Path, compose_binary: str) -> None:
    (tmp_path / "compose.yaml").write_text("name: p\nx-a: ${A-} ${B-}\n")
    (tmp_path / ".env").write_text("A=dot\n")
    (tmp_path / "one.env").write_text("A=one\nB=one\n")
    (tmp_path / "two.env").write_text("B=two\n")
    environ = {"COMPOSE_ENV_FILES": f"{tmp_path / 'one.env'},{tmp_path / 'two.env'}"}

    project = load(compose_files(tmp_path, (), environ), environ=command_environ(tmp_path, (), environ))

    assert [project["x-a"]] == used(compose_binary, tmp_path, (), environ) == ["one two"]


def test_no_compose_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as raised:
        compose_files(tmp_path, (), {})

    assert str(raised.value) == (
        f"no compose file in {tmp_path} or above. Run dmrc up beside a compose.yaml, or name it with -f FILE"
    )


@pytest.mark.parametrize(
    ("given", "environ", "expected"),
    [
        (["-"], {}, "Write the compose file to disk"),
        (["no.yaml"], {}, "compose file 'no.yaml', named by -f, is not there"),
        (["."], {}, "compose file '.', named by -f, is a directory"),
        (["oci://docker.io/a/b"], {}, "is remote"),
        (["https://github.com/a/b.git"], {}, "is remote"),
        ([], {"COMPOSE_FILE": "-"}, "COMPOSE_FILE names standard input"),
        ([], {"COMPOSE_FILE": "no.yaml"}, "compose file 'no.yaml', named by COMPOSE_FILE, is not there"),
        ([], {"COMPOSE_FILE": ""}, "compose file '', named by COMPOSE_FILE, is a directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    given: list[str], environ: dict[str, str], expected: str, tmp_path: Path
) -> None:
    write(tmp_path, ["compose.yaml"])

    with pytest.raises(ProjectError) as raised:
        compose_files(tmp_path, given, environ)

    assert expected in str(raised.value)


def test_a_symbolic_link_keeps_its_name(tmp_path: Path) -> None:
    """The project is called after the directory that the user sees."""
    write(tmp_path, ["real/compose.yaml"])
    (tmp_path / "link").symlink_to(tmp_path / "real")

    files = compose_files(tmp_path / "link", (), {})

    assert files == (tmp_path / "link" / "compose.yaml",)
    assert load(files, environ={})["name"] == "link"
