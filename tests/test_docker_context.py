import hashlib
import json
from pathlib import Path

import pytest

from dmrc.docker_context import (
    DEFAULT_HOST,
    docker_endpoint,
    is_behind_proxy,
    local_docker_endpoint,
    no_proxy_of_docker,
)
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
        local_docker_endpoint({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "remote"})

    assert "Docker context 'remote' is on another machine" in str(caught.value)
    assert host in str(caught.value)
    assert caught.value.exit_code == 6


def test_a_context_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DockerError, match="'nope' cannot be read"):
        docker_endpoint({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "nope"})


@pytest.mark.parametrize(
    ("proxies", "hosts"),
    [
        ({"default": {"httpProxy": "http://proxy", "noProxy": "localhost,.corp"}}, "localhost,.corp"),
        ({"unix:///d.sock": {"noProxy": "of-this"}, "default": {"noProxy": "of-all"}}, "of-this"),
        ({"unix:///d.sock": {"httpProxy": "http://proxy"}, "default": {"noProxy": "of-all"}}, None),
        ({"default": {"noProxy": ""}}, None),
        ("junk", None),
        ({"default": ["junk"]}, None),
    ],
)
def test_docker_says_which_hosts_its_containers_ask_without_a_proxy(
    tmp_path: Path, proxies: object, hosts: str | None
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies}))

    found = no_proxy_of_docker({"DOCKER_CONFIG": str(tmp_path)}, "unix:///d.sock")

    assert found == ({} if hosts is None else {"NO_PROXY": hosts, "no_proxy": hosts})


@pytest.mark.parametrize(
    ("settings", "behind"),
    [
        ({"httpProxy": "http://proxy"}, True),
        ({"httpProxy": "http://proxy", "noProxy": "localhost, 10.0.0.0/8"}, True),
        ({"httpProxy": "http://proxy", "noProxy": "localhost,172.16.0.0/12"}, False),
        ({"httpProxy": "http://proxy", "noProxy": "172.17.0.1"}, False),
        ({"httpProxy": "http://proxy", "noProxy": "*"}, False),
        ({"httpsProxy": "http://proxy"}, False),
        ({}, False),
    ],
)
def test_docker_says_whether_its_containers_ask_us_through_a_proxy(
    tmp_path: Path, settings: dict[str, str], behind: bool
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"proxies": {"default": settings}}))

    assert is_behind_proxy({"DOCKER_CONFIG": str(tmp_path)}, "unix:///d.sock", "172.17.0.1") is behind
