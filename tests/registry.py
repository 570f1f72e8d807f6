"""A real registry (Debian's `docker-registry`) on a free port of loopback, and models to put into it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.ports import free_port

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_CONFIG = "application/vnd.docker.ai.model.config.v0.1+json"
DOCKER_GGUF = "application/vnd.docker.ai.gguf.v3"

# User "user", password "secret", by bcrypt.
_HTPASSWD = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"


class RegistryServer:
    """One registry process. It keeps its port and its content over `stop` and `start`."""

    def __init__(self, root: Path, *, with_login: bool = False, host: str = "127.0.0.1") -> None:
        self.root = root
        self.headers = urllib3.make_headers(basic_auth="user:secret") if with_login else {}
        self._http = urllib3.PoolManager()
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"{host}:{free_port()}"
        root.mkdir(parents=True, exist_ok=True)
        config = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(root / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.address},
        }
        if with_login:
            (root / "htpasswd").write_text(_HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(root / "htpasswd")}}
        (root / "config.yml").write_text(json.dumps(config))

    def start(self) -> None:
        program = shutil.which("docker-registry")
        assert program is not None, "docker-registry is not installed"
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen([program, "serve", str(self.root / "config.yml")], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self.root / "log").read_text()
            try:
                if self._http.request("GET", f"http://{self.address}/v2/", retries=False, timeout=1).status in (
                    200,
                    401,
                ):
                    return
            except urllib3.exceptions.HTTPError:
                time.sleep(0.02)
        raise AssertionError((self.root / "log").read_text())

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            self._process = None

    def kill(self) -> None:
        """End it at once, in the middle of its answers."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def push_blob(self, repository: str, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        url = f"http://{self.address}/v2/{repository}/blobs/uploads/"
        location = self._request("POST", url).headers["Location"]
        self._request("PUT", f"{location}&digest={digest}", data)
        return digest

    def push_manifest(self, repository: str, tag: str, document: dict[str, object], media_type: str = MANIFEST) -> str:
        data = json.dumps(document).encode()
        self._request("PUT", f"http://{self.address}/v2/{repository}/manifests/{tag}", data, media_type)
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    def push_model(self, name: str, gguf: Path | bytes, *, config: dict[str, object] | None = None) -> str:
        """Push a model in Docker's form under `ai/tiny:latest`, and return the digest of its manifest."""
        repository, _, tag = name.partition(":")
        data = gguf if isinstance(gguf, bytes) else gguf.read_bytes()
        layer = self.push_blob(repository, data)
        document = {"config": {"format": "gguf", **(config or {})}, "rootfs": {"type": "rootfs", "diff_ids": [layer]}}
        encoded = json.dumps(document).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": DOCKER_CONFIG,
                "digest": self.push_blob(repository, encoded),
                "size": len(encoded),
            },
            "layers": [{"mediaType": DOCKER_GGUF, "digest": layer, "size": len(data)}],
        }
        return self.push_manifest(repository, tag or "latest", manifest)

    def _request(
        self, method: str, url: str, body: bytes = b"", media_type: str = "application/octet-stream"
    ) -> urllib3.BaseHTTPResponse:
        headers = {**self.headers, "Content-Type": media_type}
        response = self._http.request(method, url, body=body, headers=headers)
        assert response.status < 300, response.data
        return response


@pytest.fixture
def registry(tmp_path: Path, needs_registry: None) -> Iterator[RegistryServer]:
    """A registry that takes all."""
    server = RegistryServer(tmp_path / "registry")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def registry_with_login(tmp_path: Path, needs_registry: None) -> Iterator[RegistryServer]:
    """A registry that wants user `user` with password `secret`."""
    server = RegistryServer(tmp_path / "registry-with-login", with_login=True)
    try:
        server.start()
        yield server
    finally:
        server.stop()
