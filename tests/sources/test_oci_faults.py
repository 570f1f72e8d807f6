"""Pulling from registries that lie, stall, break off or redirect."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from dmrc import artifact
from dmrc.errors import (
    ArtifactError,
    DigestMismatchError,
    ModelNotFoundError,
    RegistryAuthError,
    RegistryError,
)
from dmrc.reference import Reference
from dmrc.sources import Transfer
from dmrc.sources.credentials import DockerCredentials
from dmrc.sources.oci import OciSource
from dmrc.sources.registry import Endpoint, Registry
from dmrc.store import Store
from tests.registry import MANIFEST
from tests.sources.misbehaving import LAYER, MODEL, WEIGHTS, Misbehaving, digest_of, log_in, respond, serve, stall


def leftovers(store: Store) -> list[str]:
    return [path.name for path in store.root.rglob("*") if path.suffix in (".part", ".data", ".journal")]


def has_no_token(handler: BaseHTTPRequestHandler) -> bool:
    """Say where there is a token to whoever comes without; return whether that was so."""
    if handler.headers.get("Authorization") == "Bearer abc":
        return False
    realm = f'Bearer realm="http://{handler.headers["Host"]}/token",service="s",scope="repository:a/b:pull"'
    respond(handler, 401, WWW_Authenticate=realm)
    return True


def test_a_token_is_fetched_with_the_credentials_and_used(source: OciSource, store: Store, docker_config: Path) -> None:
    def first(handler: BaseHTTPRequestHandler) -> bool:
        if handler.path.startswith("/token"):
            respond(handler, 200, b'{"token": "abc"}')
            return True
        return has_no_token(handler)

    with Misbehaving(serve(first=first)) as server:
        log_in(docker_config, f"http://{server.address}/v1/")
        source.fetch(f"{server.address}/a/b", Transfer(store))

    token_requests = [headers for path, headers in server.requests if path.startswith("/token")]
    assert [headers["Authorization"] for headers in token_requests] == ["Basic dXNlcjpzZWNyZXQ="]
    assert "/token?scope=repository%3Aa%2Fb%3Apull&service=s" in [path for path, _ in server.requests]


def test_an_identity_token_is_traded_for_a_token_and_no_password_is_sent(
    source: OciSource, store: Store, docker_config: Path
) -> None:
    forms: list[dict[str, list[str]]] = []

    def first(handler: BaseHTTPRequestHandler) -> bool:
        if handler.command == "POST":
            forms.append(parse_qs(handler.rfile.read(int(handler.headers["Content-Length"])).decode()))
            respond(handler, 200, b'{"access_token": "abc"}')
            return True
        return has_no_token(handler)

    with Misbehaving(serve(first=first)) as server:
        login = {"auth": "dXNlcjpzZWNyZXQ=", "identitytoken": "long-lived"}
        (docker_config / "config.json").write_text(json.dumps({"auths": {server.address: login}}))
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert forms == [
        {
            "grant_type": ["refresh_token"],
            "refresh_token": ["long-lived"],
            "client_id": ["dmrc"],
            "service": ["s"],
            "scope": ["repository:a/b:pull"],
        }
    ]
    posts = [headers for path, headers in server.requests if path == "/token"]
    assert ["Authorization" in headers for headers in posts] == [False]


def test_credentials_do_not_follow_a_redirect_to_another_host(
    source: OciSource, store: Store, docker_config: Path
) -> None:
    with Misbehaving(lambda handler: respond(handler, 200, WEIGHTS)) as other:

        def first(handler: BaseHTTPRequestHandler) -> bool:
            if "Authorization" not in handler.headers:
                respond(handler, 401, WWW_Authenticate='Basic realm="x"')
                return True
            return False

        def weights(handler: BaseHTTPRequestHandler) -> None:
            respond(handler, 307, Location=f"http://{other.address}/elsewhere")

        with Misbehaving(serve(first=first, weights=weights)) as server:
            log_in(docker_config, server.address)
            source.fetch(f"{server.address}/a/b", Transfer(store))

    assert [path for path, _ in other.requests] == ["/elsewhere"]
    assert all("Authorization" not in headers for _, headers in other.requests)
    assert any("Authorization" in headers for _, headers in server.requests)


def test_the_target_of_a_redirect_cannot_ask_for_credentials(
    source: OciSource, store: Store, docker_config: Path
) -> None:
    def ask(handler: BaseHTTPRequestHandler) -> None:
        respond(handler, 401, WWW_Authenticate=f'Bearer realm="http://{handler.headers["Host"]}/token"')

    with Misbehaving(ask) as other:

        def weights(handler: BaseHTTPRequestHandler) -> None:
            respond(handler, 307, Location=f"http://{other.address}/elsewhere")

        with Misbehaving(serve(weights=weights)) as server:
            log_in(docker_config, server.address)
            with pytest.raises(RegistryAuthError):
                source.fetch(f"{server.address}/a/b", Transfer(store))

    assert [path for path, _ in other.requests] == ["/elsewhere"]


@pytest.mark.parametrize("location", ["ftp://x/y", "http://x:99999/", "http://[", "file:///etc/passwd"])
def test_a_redirect_to_nonsense_is_refused(location: str, source: OciSource, store: Store) -> None:
    answer = serve(weights=lambda handler: respond(handler, 307, Location=location))

    with Misbehaving(answer) as server, pytest.raises(RegistryError, match="redirects to"):
        source.fetch(f"{server.address}/a/b", Transfer(store))


def test_credentials_of_another_host_stay_at_home(source: OciSource, store: Store, docker_config: Path) -> None:
    with Misbehaving(lambda handler: respond(handler, 401, WWW_Authenticate='Basic realm="x"')) as server:
        log_in(docker_config, "registry.example.com")
        with pytest.raises(RegistryAuthError, match="wants a login"):
            source.fetch(f"{server.address}/a/b", Transfer(store))

    assert all("Authorization" not in headers for _, headers in server.requests)


@pytest.mark.parametrize("body", [WEIGHTS[:-1] + b"x", WEIGHTS + b"x"])
def test_bytes_that_are_not_those_of_the_digest_are_not_kept(body: bytes, source: OciSource, store: Store) -> None:
    answer = serve(weights=lambda handler: respond(handler, 200, body))

    with Misbehaving(answer) as server, pytest.raises(DigestMismatchError, match=digest_of(WEIGHTS)):
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert not store.has_blob(digest_of(WEIGHTS), len(WEIGHTS))
    assert leftovers(store) == []


def test_docker_hub_says_unauthorized_for_what_is_not_there(
    docker_config: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/token"):
            respond(handler, 200, b'{"access_token": "anonymous"}')
        else:
            realm = f'Bearer realm="http://{handler.headers["Host"]}/token",service="registry.docker.io"'
            respond(handler, 401, WWW_Authenticate=realm)

    with Misbehaving(answer) as server:
        monkeypatch.setattr("dmrc.sources.registry._HUB_HOST", server.address)
        source = OciSource(DockerCredentials(docker_config), insecure=True)
        with pytest.raises(
            ModelNotFoundError, match=r"model 'nothing' is not in the registry 'docker\.io', or is private"
        ):
            source.fetch("nothing", Transfer(store))

    assert [path.partition("?")[0] for path, _ in server.requests] == [
        "/v2/ai/nothing/manifests/latest",
        "/token",
        "/v2/ai/nothing/manifests/latest",
    ]


def test_a_manifest_with_another_digest_is_refused(source: OciSource, store: Store) -> None:
    with Misbehaving(serve()) as server, pytest.raises(DigestMismatchError):
        source.fetch(f"{server.address}/a/b@sha256:{'ab' * 32}", Transfer(store))


def test_a_manifest_without_end_is_refused(source: OciSource, store: Store) -> None:
    def first(handler: BaseHTTPRequestHandler) -> bool:
        respond(handler, 200, b" " * (5 << 20), Content_Type=MANIFEST)
        return True

    with Misbehaving(serve(first=first)) as server, pytest.raises(ArtifactError, match="larger than"):
        source.fetch(f"{server.address}/a/b", Transfer(store))


@pytest.mark.slow("waits before it asks again")
@pytest.mark.parametrize("status", [503, 429])
def test_a_registry_that_is_busy_is_asked_again(status: int, source: OciSource, store: Store) -> None:
    left = [status, status]

    def first(handler: BaseHTTPRequestHandler) -> bool:
        if left:
            respond(handler, left.pop(), Retry_After="0")
            return True
        return False

    with Misbehaving(serve(first=first)) as server:
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert left == []


@pytest.mark.slow("waits as the registry asks")
@pytest.mark.parametrize(("headers", "count"), [({}, 3), ({"Retry_After": "3600"}, 1)])
def test_a_registry_that_stays_busy_is_given_up(headers: dict, count: int, source: OciSource, store: Store) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        respond(handler, 503, b'{"errors": [{"message": "maintenance"}]}', **headers)

    with Misbehaving(answer) as server, pytest.raises(RegistryError, match=r"503 Service Unavailable .*maintenance"):
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert len(server.requests) == count


def test_a_layer_that_fails_ends_the_others_soon(source: OciSource, store: Store) -> None:
    missing = {"mediaType": artifact.LICENSE, "digest": "sha256:" + "ab" * 32, "size": 3}
    answer = serve(manifest={**MODEL, "layers": [LAYER, missing]}, weights=stall)
    started = time.monotonic()

    with Misbehaving(answer) as server, pytest.raises(RegistryError, match="404"):
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert time.monotonic() - started < 10


@pytest.mark.slow("waits before it asks again")
def test_https_is_used_beyond_loopback(source: OciSource, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, real = listener.getsockname()[1], socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: real("127.0.0.1", *rest, **more))
        hellos: list[bytes] = []

        def accept() -> None:
            connection, _ = listener.accept()
            hellos.append(connection.recv(3))
            connection.close()
            listener.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        with pytest.raises(RegistryError):
            source.fetch(f"registry.example.com:{port}/a/b", Transfer(store))
        thread.join(5)

    assert hellos[0][:2] == b"\x16\x03"


def test_a_token_realm_without_https_is_only_taken_from_a_registry_without_https() -> None:
    with Misbehaving(lambda handler: respond(handler, 200, b"{}")) as stranger:
        endpoint = Endpoint.of_registry("registry.example.com", insecure=False)
        registry = Registry(endpoint, Reference.parse("registry.example.com/a/b"), None)
        with registry, pytest.raises(RegistryAuthError, match="not by https"):
            registry._fetch_token(f"http://{stranger.address}/token", {}, None)

    assert stranger.requests == []
