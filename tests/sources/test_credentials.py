import json
import logging
from pathlib import Path

import pytest

from dmrc.sources.credentials import Credentials, DockerCredentials

USER = Credentials("user", "secret")


def configure(directory: Path, **config: object) -> DockerCredentials:
    (directory / "config.json").write_text(json.dumps(config))
    return DockerCredentials(directory)


def install_helper(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    helper = directory / "docker-credential-test"
    helper.write_text(f"#!/bin/sh\nread -r key\n{script}\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "index.docker.io", "docker.io"])
def test_docker_hub_is_known_by_all_its_names(key: str, tmp_path: Path) -> None:
    credentials = configure(tmp_path, auths={key: {"auth": "dXNlcjpzZWNyZXQ="}})

    assert credentials.lookup("docker.io") == USER
    assert credentials.lookup("index.docker.io.example.com") is None


def test_credentials_are_for_one_host_and_port(tmp_path: Path) -> None:
    credentials = configure(
        tmp_path, auths={"https://r.example.com:5000/v2/": {"username": "user", "password": "secret"}}
    )

    assert credentials.lookup("r.example.com:5000") == USER
    assert credentials.lookup("r.example.com") is None
    assert credentials.lookup("example.com:5000") is None


@pytest.mark.process
def test_a_helper_is_asked_for_its_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_helper(tmp_path, monkeypatch, """echo '{"Username": "'$key'", "Secret": "secret"}'""")
    credentials = configure(tmp_path, credHelpers={"r.example.com": "test"})

    assert credentials.lookup("r.example.com") == Credentials("r.example.com", "secret")
    assert credentials.lookup("other.example.com") is None


@pytest.mark.process
def test_the_store_of_all_registries_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_helper(tmp_path, monkeypatch, """echo '{"Username": "<token>", "Secret": "'$key'"}'""")
    credentials = configure(tmp_path, credsStore="test", auths={"docker.io": {}})

    assert credentials.lookup("docker.io") == Credentials("", "", "https://index.docker.io/v1/")


@pytest.mark.process
@pytest.mark.parametrize(
    ("script", "is_told"),
    [
        ("echo credentials not found in native keychain; exit 1", False),
        ("echo the keychain is locked >&2; exit 1", True),
        ("echo nonsense", True),
    ],
)
def test_a_helper_that_gives_nothing_counts_as_no_login(
    script: str, is_told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install_helper(tmp_path, monkeypatch, script)

    with caplog.at_level(logging.WARNING):
        assert configure(tmp_path, credsStore="test").lookup("r.example.com") is None

    assert ("docker-credential-test failed" in caplog.text) == is_told


@pytest.mark.parametrize("text", ["", "{", "[]", '{"auths": 3}', '{"auths": {"docker.io": {"auth": "%%%"}}}'])
def test_a_config_that_makes_no_sense_counts_as_no_login(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)

    assert DockerCredentials(tmp_path).lookup("docker.io") is None


def test_docker_config_says_where(tmp_path: Path) -> None:
    assert DockerCredentials.from_environment({"DOCKER_CONFIG": str(tmp_path)}).directory == tmp_path
    assert DockerCredentials.from_environment({}).directory == Path.home() / ".docker"
    assert DockerCredentials(tmp_path / "missing").lookup("docker.io") is None


def test_a_password_is_not_printed() -> None:
    assert "secret" not in repr(USER)
