"""Mirrors are asked first, are trusted with nothing, and what they lack comes from the registry itself."""

import json
from pathlib import Path

import pytest

from dmrc.errors import ModelNotFoundError
from dmrc.settings import Settings
from dmrc.sources import Transfer
from dmrc.sources.credentials import DockerCredentials
from dmrc.sources.mirrors import daemon_files, docker_mirrors
from dmrc.sources.oci import OciSource
from dmrc.store import Store
from tests.dmrc_command import Dmrc
from tests.ports import free_port
from tests.registry import RegistryServer
from tests.sources.misbehaving import (
    BIG,
    WEIGHTS,
    Misbehaving,
    digest_of,
    log_in,
    range_of,
    respond,
    respond_range,
    serve,
    serve_big,
)
from tests.sources.partial_blobs import PIECE_BYTES, Counted, content


def mirrored(registry: Misbehaving, *mirrors: str, docker_config: Path = Path("/nonexistent")) -> OciSource:
    return OciSource(DockerCredentials(docker_config), mirrors={registry.address: mirrors})


def test_a_mirror_is_asked_instead_of_the_registry(store: Store) -> None:
    with Misbehaving(serve()) as registry, Misbehaving(serve()) as mirror:
        mirrored(registry, f"http://{mirror.address}").fetch(f"{registry.address}/a/b", Transfer(store))

    assert registry.requests == []
    assert content(store, digest_of(WEIGHTS)) == WEIGHTS


@pytest.mark.parametrize("fault", ["gone", "404", "503", "401", "no manifest", "other bytes"])
def test_a_mirror_that_fails_is_named_and_the_registry_serves(
    fault: str, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    answers = {
        "404": lambda handler: respond(handler, 404),
        "503": lambda handler: respond(handler, 503),
        "401": lambda handler: respond(handler, 401, WWW_Authenticate='Basic realm="x"'),
        "no manifest": lambda handler: respond(handler, 200, b"<html>", Content_Type="text/html"),
        "other bytes": serve(weights=lambda handler: respond(handler, 200, bytes(len(WEIGHTS)))),
    }
    with Misbehaving(serve()) as registry, Misbehaving(answers.get(fault, serve())) as mirror:
        address = f"127.0.0.1:{free_port()}" if fault == "gone" else mirror.address
        mirrored(registry, f"http://{address}").fetch(f"{registry.address}/a/b", Transfer(store))

    assert content(store, digest_of(WEIGHTS)) == WEIGHTS
    assert f"mirror 'http://{address}' of '{registry.address}' does not serve" in caplog.text
    assert len(mirror.requests) <= 4


def test_the_registry_goes_on_where_the_mirror_ended(store: Store, no_delay: None) -> None:
    rest = Counted(lambda handler: respond_range(handler, BIG))

    def first_piece_alone(handler: object) -> None:
        if range_of(handler) == (0, PIECE_BYTES):
            respond_range(handler, BIG)
        else:
            respond(handler, 500)

    with Misbehaving(serve_big(rest)) as registry, Misbehaving(serve_big(first_piece_alone)) as mirror:
        mirrored(registry, f"http://{mirror.address}").fetch(f"{registry.address}/a/b", Transfer(store))

    assert content(store) == BIG
    assert rest.sent_bytes < len(BIG)


def test_credentials_of_the_registry_are_not_shown_to_its_mirror(store: Store, docker_config: Path) -> None:
    challenge = {"WWW_Authenticate": 'Basic realm="x"'}

    def ask(handler: object) -> bool:
        if "Authorization" in handler.headers:
            return False
        respond(handler, 401, **challenge)
        return True

    with Misbehaving(serve(first=ask)) as registry, Misbehaving(lambda h: respond(h, 401, **challenge)) as mirror:
        log_in(docker_config, registry.address)
        source = mirrored(registry, f"http://{mirror.address}", docker_config=docker_config)
        source.fetch(f"{registry.address}/a/b", Transfer(store))

    assert mirror.requests != []
    assert all("Authorization" not in headers for _, headers in mirror.requests)
    assert any("Authorization" in headers for _, headers in registry.requests)


def test_what_neither_has_is_told_of_the_registry(store: Store) -> None:
    def missing(handler: object) -> None:
        respond(handler, 404)

    with Misbehaving(missing) as registry, Misbehaving(missing) as mirror:
        source = mirrored(registry, f"http://{mirror.address}")
        with pytest.raises(ModelNotFoundError, match=f"not in the registry '{registry.address}'"):
            source.fetch(f"{registry.address}/a/b", Transfer(store))


def test_docker_hub_comes_from_the_mirror_that_is_set(registry: RegistryServer, dmrc: Dmrc) -> None:
    digest = registry.push_model("ai/tiny:latest", WEIGHTS)

    printed = dmrc.ok("pull", "tiny", env={"DMRC_MIRROR": f"docker.io=http://{registry.address}"})

    assert printed.strip() == digest
    assert "docker.io/ai/tiny:latest" in dmrc.ok("list", "--json")


def test_mirrors_are_read_from_dockers_own_settings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def write(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    missing, bad = tmp_path / "missing.json", write("bad.json", "{")
    without = write("without.json", '{"debug": true}')
    good = write("good.json", json.dumps({"registry-mirrors": ["https://mirror.example.com/", 5]}))

    assert docker_mirrors([missing, bad, without, good]) == {"docker.io": ("https://mirror.example.com/",)}
    assert docker_mirrors([missing, without]) == {}
    assert f"'{bad}' cannot be read" in caplog.text
    assert daemon_files({"XDG_CONFIG_HOME": str(tmp_path)})[0] == tmp_path / "docker/daemon.json"


def test_a_setting_takes_the_place_of_dockers() -> None:
    settings = Settings.from_environment({"DMRC_MIRROR": "docker.io=http://127.0.0.1:5000,ghcr.io=https://m.example/"})

    assert settings.mirrors == {"docker.io": ("http://127.0.0.1:5000",), "ghcr.io": ("https://m.example",)}
    assert Settings.from_environment({"DMRC_MIRROR": ""}).mirrors == {}
    assert Settings.from_environment({}).mirrors is None
