"""Projects that a daemon is given by files: as long as it is."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from dmrc.errors import ProjectError
from dmrc.gateway.projects.given import read_given
from dmrc.project import ModelDeclaration, ServingOptions, Upstream, UpstreamPlace
from dmrc.projects import Registration, key_hash
from tests.dmrc_command import Dmrc

_KEY = "sk-dmrc-of-web"


def _file(path: Path, **models: ModelDeclaration) -> Path:
    registration = Registration(
        name="shop", directory="/", models=models, services={"web": ()}, key_hashes={"web": key_hash(_KEY)}
    )
    path.write_text(registration.to_json())
    return path


@contextmanager
def _serving(dmrc: Dmrc, arguments: Sequence[str | Path]) -> Iterator[None]:
    process = subprocess.Popen([dmrc.program, "serve", *arguments], env=dmrc.environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while _status(dmrc, "") == 0 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def _status(dmrc: Dmrc, key: str) -> int:
    """Return the status of a request with a key; 0 where nobody listens."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = f"http://127.0.0.1:{dmrc.port}/engines/v1/models"
    try:
        return urllib3.request("GET", url, headers=headers, retries=False, timeout=5).status
    except urllib3.exceptions.HTTPError:
        return 0


def test_a_given_project_is_up_as_long_as_it_is_given(dmrc: Dmrc, tmp_path: Path) -> None:
    file = _file(tmp_path / "project.json")

    with _serving(dmrc, ["--project", file]):
        assert _status(dmrc, _KEY) == 200
    with _serving(dmrc, []):
        assert _status(dmrc, _KEY) == 401
    with _serving(dmrc, ["--project", file]):
        assert _status(dmrc, _KEY) == 200


def test_a_file_that_is_no_project_is_named(dmrc: Dmrc, tmp_path: Path) -> None:
    (tmp_path / "project.json").write_text(json.dumps({"name": 1}))
    (tmp_path / "secrets.json").write_text("[]")

    for arguments in (
        ["--project", tmp_path / "project.json"],
        ["--project", tmp_path / "gone.json"],
        ["--project", _file(tmp_path / "good.json"), "--secrets", tmp_path / "secrets.json"],
    ):
        done = dmrc.run("serve", *arguments)
        assert done.returncode != 0
        assert done.stderr.count("\n") == 1
        assert str(arguments[-1]) in done.stderr


def test_each_of_several_upstreams_gets_its_key(tmp_path: Path) -> None:
    upstream = Upstream(
        url="https://one.test/v1",
        model="m",
        key="KEY_OF_ONE",
        others=(UpstreamPlace(url="https://two.test/v1", model="m", key="KEY_OF_TWO"),),
    )
    declaration = ModelDeclaration(key="llm", model="m", options=ServingOptions(upstream=upstream))
    file = _file(tmp_path / "project.json", llm=declaration)

    found = read_given(file, {"KEY_OF_ONE": "1", "KEY_OF_TWO": "2", "OTHER": "3"}, None)

    assert found.upstream_keys == {"KEY_OF_ONE": "1", "KEY_OF_TWO": "2"}
    with pytest.raises(ProjectError, match="KEY_OF_TWO"):
        read_given(file, {"KEY_OF_ONE": "1"}, None)
