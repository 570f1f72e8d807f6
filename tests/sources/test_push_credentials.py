"""Who gets the credentials of a push: its registry, and nobody else."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from dmrc.errors import RegistryAuthError, RegistryError
from dmrc.sources import Transfer
from dmrc.sources.oci import OciSource
from dmrc.store import Store
from tests.sources.misbehaving import CONFIG, WEIGHTS, Misbehaving, digest_of, log_in, respond
from tests.sources.uploads import Uploads, assert_complete, filled_store, is_weights, outgoing


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled_store(tmp_path / "store")


def test_a_token_is_asked_for_pushing_and_for_the_repositories_beside(
    source: OciSource, store: Store, docker_config: Path
) -> None:
    scopes: list[list[str]] = []

    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if handler.path.startswith("/token"):
            scopes.append(parse_qs(urlsplit(handler.path).query)["scope"])
            respond(handler, 200, b'{"token": "abc"}')
        elif handler.headers.get("Authorization") != "Bearer abc":
            realm = f'Bearer realm="http://{handler.headers["Host"]}/token",scope="repository:a/b:pull"'
            respond(handler, 401, WWW_Authenticate=realm)
        else:
            return False
        return True

    uploads = Uploads(first)
    with Misbehaving(uploads) as server:
        log_in(docker_config, server.address)
        known = (f"{server.address}/c/d:v1", "docker.io/e/f:v1", f"{server.address}/a/b:v0")
        source.push(outgoing(server.address, *known), Transfer(store))

    assert_complete(uploads)
    assert scopes[0] == ["repository:a/b:pull,push", "repository:c/d:pull"]
    mounts = [path for command, path, _ in uploads.log if command == "POST" and "from=" in path]
    assert {parse_qs(urlsplit(path).query)["from"][0] for path in mounts} == {"c/d"}


def test_a_token_that_ends_in_the_middle_is_renewed(source: OciSource, store: Store, docker_config: Path) -> None:
    tokens: list[str] = []
    ended: list[str] = []
    is_used_by_another = threading.Event()  # before that it would be one that was refused at its first use

    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if handler.path.startswith("/token"):
            tokens.append(f"token{len(tokens)}")
            respond(handler, 200, json.dumps({"token": tokens[-1]}).encode())
            return True
        token = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        if is_weights(handler) and token and not ended:
            is_used_by_another.wait(10)
            ended.append(token)
        if token in tokens and token not in ended:
            if handler.path.endswith(digest_of(CONFIG)):
                is_used_by_another.set()
            return False
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        respond(handler, 401, WWW_Authenticate=f'Bearer realm="http://{handler.headers["Host"]}/token"')
        return True

    uploads = Uploads(first)
    with Misbehaving(uploads) as server:
        log_in(docker_config, server.address)
        source.push(outgoing(server.address), Transfer(store))

    assert is_used_by_another.is_set()
    assert_complete(uploads)
    assert len(ended) == 1
    assert len(tokens) >= 2


def test_a_token_that_another_thread_got_and_that_ended_since_is_renewed(
    source: OciSource, store: Store, docker_config: Path
) -> None:
    """#17: the thread of the config took the other's token, which had ended, for one that is refused for good."""
    tokens: list[str] = []
    has_ended, is_refused_to_another = threading.Event(), threading.Event()

    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if handler.path.startswith("/token"):
            tokens.append(f"token{len(tokens)}")
            respond(handler, 200, json.dumps({"token": tokens[-1]}).encode())
            return True
        token = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        is_config = handler.path.endswith(digest_of(CONFIG))
        if is_config and not token:
            has_ended.wait(10)
        if is_config and token == "token0":
            is_refused_to_another.set()
        if is_weights(handler) and token == "token0":
            has_ended.set()
            is_refused_to_another.wait(10)
        if token in tokens and not (token == "token0" and has_ended.is_set()):
            return False
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        respond(handler, 401, WWW_Authenticate=f'Bearer realm="http://{handler.headers["Host"]}/token"')
        return True

    uploads = Uploads(first)
    with Misbehaving(uploads) as server:
        log_in(docker_config, server.address)
        source.push(outgoing(server.address), Transfer(store))

    assert is_refused_to_another.is_set()
    assert_complete(uploads)
    assert tokens == ["token0", "token1"]


def test_an_upload_at_another_host_gets_no_credentials(source: OciSource, store: Store, docker_config: Path) -> None:
    elsewhere = Uploads()

    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if "Authorization" not in handler.headers:
            respond(handler, 401, WWW_Authenticate='Basic realm="x"')
            return True
        if handler.command == "POST":
            elsewhere._post(handler)
            return True
        return False

    uploads = Uploads(first)
    with Misbehaving(elsewhere) as other, Misbehaving(uploads) as server:
        elsewhere.base = f"http://{other.address}"
        log_in(docker_config, server.address)
        source.push(outgoing(server.address), Transfer(store))

    assert elsewhere.blobs == {digest_of(WEIGHTS): WEIGHTS, digest_of(CONFIG): CONFIG}
    assert list(uploads.manifests) == ["v1"]
    assert all("Authorization" not in headers for _, _, headers in elsewhere.log)


@pytest.mark.parametrize("location", ["ftp://x/y", "http://x:99999/", "http://["])
def test_an_upload_to_nonsense_is_refused(location: str, source: OciSource, store: Store) -> None:
    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if handler.command != "POST":
            return False
        respond(handler, 202, Location=location)
        return True

    with Misbehaving(Uploads(first)) as server, pytest.raises(RegistryError, match=r"is not https|Location|URL"):
        source.push(outgoing(server.address), Transfer(store))


def test_a_redirect_takes_no_upload_along(source: OciSource, store: Store, docker_config: Path) -> None:
    stranger = Uploads()

    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if "Authorization" not in handler.headers:
            respond(handler, 401, WWW_Authenticate='Basic realm="x"')
            return True
        if handler.command == "POST":
            respond(handler, 307, Location=f"{stranger.base}{handler.path}")
            return True
        return False

    with Misbehaving(stranger) as other, Misbehaving(Uploads(first)) as server:
        stranger.base = f"http://{other.address}"
        log_in(docker_config, server.address)
        with pytest.raises(RegistryError, match="answers 307"):
            source.push(outgoing(server.address), Transfer(store))

    assert stranger.log == []


def test_a_push_that_is_not_allowed_tells_how_to_log_in(source: OciSource, store: Store) -> None:
    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if handler.command != "POST":
            return False
        respond(handler, 403, b'{"errors": [{"code": "DENIED", "message": "access denied"}]}')
        return True

    with Misbehaving(Uploads(first)) as server, pytest.raises(RegistryAuthError) as caught:
        source.push(outgoing(server.address), Transfer(store))

    assert f"access denied. Run: docker login {server.address}" in str(caught.value)
