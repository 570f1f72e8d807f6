"""The loader against the real Compose, on a corpus, and what it says where it differs."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from dmrc.compose import yaml_text
from dmrc.compose.files import command_environ, compose_files
from dmrc.compose.without_docker.loader import load
from dmrc.errors import ProjectError
from tests.compose.corpus import ACCEPTED, REFUSED

ENVIRON = {"HOME": "/home/user", "FOO": "foo", "BAR": "bar", "EM": ""}
KEYS = {"environment", "models", "network_mode", "profiles", "env_file", "working_dir", "depends_on", "provider"}


@pytest.fixture(scope="session")
def compose_binary(needs_compose: None) -> str:
    """The real Compose: beside this Python, or on PATH."""
    beside = Path(sys.executable).with_name("docker-compose")
    found = str(beside) if beside.is_file() else shutil.which("docker-compose")
    assert found, "docker-compose is not installed: leave these tests out with -m 'not compose'"
    return found


def write(directory: Path, project: str | Mapping[str, str]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    files = {"compose.yaml": project} if isinstance(project, str) else project
    for name, text in files.items():
        (directory / name).write_bytes(text.encode())
    return directory


def read(directory: Path, environ: Mapping[str, str] = ENVIRON) -> dict[str, object]:
    """Read a project as a command run in its directory does."""
    files = compose_files(directory, (), environ)
    return load(files, environ=command_environ(directory, (), environ))


def config(
    binary: str, directory: Path, options: Sequence[str] = (), environ: Mapping[str, str] = ENVIRON
) -> dict[str, object] | None:
    """Return what the real Compose makes of a project, restricted to what dmrc uses; None if it refuses."""
    # Compose would add PWD by itself.
    ran = subprocess.run(
        [binary, *options, "config"],
        cwd=directory,
        env={**environ, "PWD": str(directory)},
        capture_output=True,
        check=False,
    )
    if ran.returncode != 0:
        return None
    # `config` doubles every dollar of its output, so that it can be read as a compose file.
    (document,) = yaml_text.read(ran.stdout.decode().replace("$$", "$"), "output")
    assert isinstance(document, dict)
    services = {
        name: {key: value for key, value in service.items() if key in KEYS or key.startswith("x-")}
        for name, service in document["services"].items()
    }
    kept = {key: value for key, value in document.items() if key in ("name", "models") or key.startswith("x-")}
    return {**kept, "services": services}


@pytest.mark.parametrize("name", ACCEPTED)
def test_loader_and_compose_read_the_same(name: str, tmp_path: Path, compose_binary: str) -> None:
    directory = write(tmp_path / name, ACCEPTED[name])

    expected = config(compose_binary, directory)

    assert expected is not None
    assert read(directory) == expected


@pytest.mark.parametrize("name", REFUSED)
def test_compose_refuses_what_the_loader_refuses(name: str, tmp_path: Path, compose_binary: str) -> None:
    directory = write(tmp_path / name, REFUSED[name][0])

    assert config(compose_binary, directory) is None


@pytest.mark.parametrize("name", REFUSED)
def test_loader_refuses_in_one_line_that_names_the_cause(name: str, tmp_path: Path) -> None:
    project, expected = REFUSED[name]
    directory = write(tmp_path / name, project)

    with pytest.raises(ProjectError) as raised:
        read(directory)

    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (["-p", "given"], {"project_name": "given"}),
        (["--profile", "p"], {"profiles": ["p"]}),
        (["--profile", "p", "--profile", "q"], {"profiles": ["p", "q"]}),
        (["--profile", "*"], {"profiles": ["*"]}),
        (["--env-file", "one.env"], {"env_files": ["one.env"]}),
        (["--env-file", "one.env", "--env-file", "two.env"], {"env_files": ["one.env", "two.env"]}),
    ],
)
def test_options_mean_what_they_mean_to_compose(
    options: list[str], arguments: dict[str, list[str]], tmp_path: Path, compose_binary: str
) -> None:
    project = {
        "compose.yaml": """
name: written
services:
  a: {image: x, environment: {P: "${P:-none}", Q: "${Q:-none}", FOO: "$FOO", N: }}
  b: {image: x, profiles: [p], models: [m]}
  c: {image: x, profiles: [q, r]}
models: {m: {model: "${P:-none}"}}
""",
        ".env": "P=dot\nN=dot\n",
        "one.env": "P=one\nQ=${P}1\nFOO=no\n",
        "two.env": "P=two\nR=2\nQ=${Q}2\n",
    }
    directory = write(tmp_path / "options", project)
    env_files = [directory / name for name in arguments.get("env_files", [])]

    expected = config(compose_binary, directory, options)

    given = {key: value for key, value in arguments.items() if key != "env_files"}
    assert load([directory / "compose.yaml"], environ=ENVIRON, env_files=env_files, **given) == expected


@pytest.mark.parametrize(
    "variables",
    [
        {"COMPOSE_PROJECT_NAME": "env"},
        {"COMPOSE_PROJECT_NAME": ""},
        {"COMPOSE_PROFILES": "q, p"},
        {"COMPOSE_PROFILES": "*"},
        {"COMPOSE_DISABLE_ENV_FILE": "1"},
        {"COMPOSE_DISABLE_ENV_FILE": "false"},
        {"P": "environ"},
        {"P": ""},
    ],
    ids=str,
)
def test_variables_mean_what_they_mean_to_compose(
    variables: dict[str, str], tmp_path: Path, compose_binary: str
) -> None:
    project = {
        "compose.yaml": """
services:
  a: {image: x, environment: {P: "${P:-none}", Q: }}
  b: {image: x, profiles: [p]}
  c: {image: x, profiles: [q]}
""",
        ".env": "P=dot\nQ=${P}q\n",
    }
    directory = write(tmp_path / "Vari-ables.x", project)
    environ = {**ENVIRON, **variables}

    assert read(directory, environ) == config(compose_binary, directory, environ=environ)


@pytest.mark.parametrize("variables", [{"COMPOSE_PROJECT_NAME": "Foo"}, {"COMPOSE_DISABLE_ENV_FILE": "maybe"}], ids=str)
def test_bad_variables_are_refused_as_compose_does(
    variables: dict[str, str], tmp_path: Path, compose_binary: str
) -> None:
    directory = write(tmp_path / "bad", "services: {a: {image: x}}")
    environ = {**ENVIRON, **variables}

    assert config(compose_binary, directory, environ=environ) is None
    with pytest.raises(ProjectError, match=next(iter(variables.values()))):
        read(directory, environ)


@pytest.mark.parametrize(
    ("project", "expected"),
    [
        (
            "services: {a: {extends: {service: b}}, b: {image: x}}",
            "services.a.extends is used. This needs Docker Compose",
        ),
        ("include: [other.yaml]", "include is used. This needs Docker Compose"),
        (
            "services: {a: {image: x, models: !reset null}}",
            "services.a.models is tagged !reset. This needs Docker Compose",
        ),
        ("services: {a: {image: x, environment: !override {A: b}}}", "services.a.environment is tagged !override"),
    ],
)
def test_loader_says_what_needs_the_real_compose(project: str, expected: str, tmp_path: Path) -> None:
    directory = write(tmp_path, project)

    with pytest.raises(ProjectError) as raised:
        read(directory)

    assert expected in str(raised.value)
    assert str(directory / "compose.yaml") in str(raised.value)


def test_models_keep_the_order_of_the_file(tmp_path: Path) -> None:
    """The first one declared becomes OPENAI_MODEL; Compose itself sorts them."""
    models = "models: {z: {model: a}, a: {model: b}}"
    directory = write(tmp_path, f"services: {{s: {{image: x, models: [z, a]}}}}\n{models}")

    project = read(directory)

    assert list(project["models"]) == ["z", "a"]  # type: ignore[call-overload]
    assert list(project["services"]["s"]["models"]) == ["z", "a"]  # type: ignore[index]


def test_aliases_of_aliases_do_not_eat_the_memory(tmp_path: Path) -> None:
    lines = ["x-0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    directory = write(tmp_path, "\n".join(lines))

    with pytest.raises(ProjectError, match="more than 100000 values"):
        read(directory)


def test_a_missing_variable_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = write(tmp_path / "missing", "services: {a: {image: $NOPE/x}}")

    with caplog.at_level(logging.WARNING):
        read(directory)

    assert "variable NOPE is not set" in caplog.text


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ProjectError, match="cannot be read"):
        load([file], environ={})


def test_a_missing_env_file_is_named(tmp_path: Path) -> None:
    directory = write(tmp_path, "services: {a: {image: x}}")

    with pytest.raises(ProjectError, match=r"nope\.env' is not there"):
        load([directory / "compose.yaml"], environ={}, env_files=[directory / "nope.env"])
