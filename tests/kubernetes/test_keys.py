"""No key, password or token is where more than its owner, or more than a Secret's readers, can see it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.exporting import Exporter

_PASSWORD = "hunter2-of-the-file-server"


@pytest.fixture
def model_url(exporter: Exporter, tmp_path: Path) -> Iterator[str]:
    """A file by URL, on a server that wants a login."""
    (tmp_path / "files").mkdir()
    (tmp_path / "tiny.gguf").rename(tmp_path / "files" / "tiny.gguf")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=tmp_path / "files")

        def send_head(self) -> object:
            if "Authorization" in self.headers:
                return super().send_head()
            self.send_error(401)
            return None

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://user:{_PASSWORD}@127.0.0.1:{server.server_port}/tiny.gguf"
        server.shutdown()


def test_a_model_by_a_url_with_a_login_is_refused(exporter: Exporter, model_url: str) -> None:
    """The URL would be in the arguments of an init container, which all who may see Pods can read."""
    exporter.dmrc.ok("pull", model_url)
    model = {"model": model_url}

    said = exporter.refused(
        yaml.safe_dump({"services": {"web": {"image": "a", "models": ["llm"]}}, "models": {"llm": model}})
    )

    assert said.startswith("dmrc: model 'llm' cannot be exported: its URL holds a login")
    assert _PASSWORD not in said
    assert not (exporter.directory / "kubernetes").exists()


def test_values_of_services_are_in_their_secrets_alone(exporter: Exporter) -> None:
    compose = """
services:
  web:
    image: example/web:1
    environment: {DB_PASSWORD: hunter2-of-the-database, COLOUR: pale-green}
    models: [llm]
  plain: {image: example/plain:1, environment: {DB_PASSWORD: hunter3-of-the-database}}
models: {llm: {model: "registry.example/me/tiny:v1"}}
"""

    exported = exporter.export(compose)

    for value in ("hunter2-of-the-database", "pale-green", "hunter3-of-the-database"):
        found = [name for name, content in exported.content().items() if value.encode() in content]
        assert found == [], value  # in base64 in a Secret
        assert value not in exported.said
    assert exported.secret("web-variables")["DB_PASSWORD"] == "hunter2-of-the-database"
    assert exported.secret("plain-variables")["DB_PASSWORD"] == "hunter3-of-the-database"
    for path in (exported.directory / "base").rglob("*"):
        is_private = "secrets" in path.relative_to(exported.directory).parts
        assert not is_private or not path.stat().st_mode & 0o077, path
    for kind in ("Deployment", "ConfigMap", "Service"):
        assert not any("DB_PASSWORD" in str(each) for each in exported.documents() if each["kind"] == kind)
