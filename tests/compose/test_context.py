import hashlib
import json
from pathlib import Path

import pytest

from dmrc.compose.context import DEFAULT_HOST, docker_endpoint
from dmrc.errors import DockerError


def make_context(config: Path, name: str, host: str) -> None:
    meta = config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))


def test_the_default_is_dockers_socket(tmp_path: Path) -> None:
    assert docker_endpoint({"DOCKER_CONFIG": str(tmp_path)}).host == DEFAULT_HOST


def test_docker_host_is_stronger_than_the_context(tmp_path: Path) -> None:
    make_context(tmp_path, "mine", "unix:///run/mine.sock")
    (tmp_path / "config.json").write_text('{"currentContext": "mine"}')

    assert docker_endpoint({"DOCKER_CONFIG": str(tmp_path)}).host == "unix:///run/mine.sock"
    environ = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_HOST": "unix:///other.sock"}
    assert docker_endpoint(environ).host == "unix:///other.sock"


@pytest.mark.parametrize("host", ["ssh://me@build", "tcp://192.0.2.7:2376"])
def test_an_engine_on_another_machine_is_refused_with_the_reason(tmp_path: Path, host: str) -> None:
    make_context(tmp_path, "remote", host)

    with pytest.raises(DockerError) as caught:
        docker_endpoint({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "remote"})

    assert "Docker context 'remote' is on another machine" in str(caught.value)
    assert host in str(caught.value)
    assert caught.value.exit_code == 6


def test_a_context_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DockerError, match="'nope' cannot be read"):
        docker_endpoint({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "nope"})
