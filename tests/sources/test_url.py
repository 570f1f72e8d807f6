"""Pulls of one GGUF file: from a web server, and from this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc
from tests.sources.hugging_face import HuggingFace, Repository, hugging_face
from tests.tiny_gguf import write_tiny_llama


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("Some Models") / "Tiny_v1.gguf")


@pytest.fixture
def web(tiny: Path) -> Iterator[HuggingFace]:
    """A web server with files."""
    files = {"Tiny.Q8_0.gguf": tiny.read_bytes(), "page.gguf": b"<html>Please log in</html>"}
    with hugging_face({"files/models": Repository(files)}) as server:
        yield server


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.engine
@pytest.mark.parametrize("with_checksum", [False, True])
def test_a_file_on_a_web_server_is_a_model(dmrc: Dmrc, web: HuggingFace, tiny: Path, with_checksum: bool) -> None:
    url = f"{web.files_url}/files/models/Tiny.Q8_0.gguf" + (f"#sha256={_sha256(tiny)}" if with_checksum else "")

    dmrc.ok("pull", url)

    host = web.files_url.removeprefix("http://")
    assert json.loads(dmrc.ok("list", "--json"))[0]["tags"] == [f"{host}/files/models/tiny.q8_0:latest"]
    asked = len(web.requests)
    assert dmrc.run("run", url, "Hi").returncode == 0
    assert len(web.requests) == asked, "a present model needs no network"


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("Tiny.Q8_0.gguf#sha256=" + "ab" * 32, 4, "came with other bytes"),
        ("Tiny.Q8_0.gguf#md5=1", 2, "'#md5=1' is not a checksum. Write #sha256= and 64 hex digits"),
        ("page.gguf", 4, "is not a GGUF file: it begins with b'<htm'"),
    ],
)
def test_what_is_not_the_file_that_was_meant_is_refused(
    dmrc: Dmrc, web: HuggingFace, name: str, code: int, reason: str
) -> None:
    done = dmrc.run("pull", f"{web.files_url}/files/models/{name}")

    assert done.returncode == code
    assert reason in done.stderr
    assert dmrc.ok("list", "-q") == ""


def test_a_missing_file_is_not_found(dmrc: Dmrc, web: HuggingFace) -> None:
    done = dmrc.run("pull", f"{web.url}/nothing/here.gguf")

    assert done.returncode == 3
    assert f"there is no file at '{web.url}/nothing/here.gguf'" in done.stderr


def test_plain_http_beyond_loopback_is_refused(dmrc: Dmrc) -> None:
    done = dmrc.run("pull", "http://user:secret@192.0.2.1/model.gguf")

    assert done.returncode == 4
    assert "'http://192.0.2.1/model.gguf' is not https" in done.stderr


@pytest.mark.engine
def test_a_file_on_this_machine_is_a_model(dmrc: Dmrc, tiny: Path) -> None:
    url = f"{tiny.as_uri()}#sha256={_sha256(tiny)}"

    dmrc.ok("pull", url)

    (model,) = json.loads(dmrc.ok("list", "--json"))
    assert model["tags"][0].startswith("localhost/")
    assert model["tags"][0].endswith("/tiny_v1:latest")
    assert json.loads(dmrc.ok("inspect", url)) == model
    assert dmrc.run("run", url, "Hi").returncode == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///no/such/model.gguf", "cannot be read"),
        ("file://elsewhere/model.gguf", "is on another machine"),
        ("file:///", "is not a model reference"),
    ],
)
def test_a_file_that_cannot_be_had_is_named(dmrc: Dmrc, url: str, reason: str) -> None:
    done = dmrc.run("pull", url)

    assert done.returncode == 2
    assert reason in done.stderr


def test_a_file_with_another_checksum_is_refused(dmrc: Dmrc, tiny: Path) -> None:
    done = dmrc.run("pull", f"{tiny.as_uri()}#sha256={'ab' * 32}")

    assert done.returncode == 4
    assert "came with other bytes" in done.stderr
    assert dmrc.ok("list", "-q") == ""
