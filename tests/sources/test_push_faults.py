"""Pushing to registries that break off, forget, wait, redirect and lie."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from dmrc.artifact import CONFIG as CONFIG_TYPE
from dmrc.artifact import GGUF, Descriptor, Manifest, build_manifest
from dmrc.errors import CancelledError, DigestMismatchError, RegistryAuthError, RegistryError
from dmrc.reference import Reference
from dmrc.sources import Outgoing, ProgressEvent, Transfer
from dmrc.sources.oci import OciSource
from dmrc.sources.request import FileRange
from dmrc.store import Store
from tests.sources.misbehaving import CONFIG, WEIGHTS, Misbehaving, digest_of, log_in, respond

First = Callable[["Uploads", BaseHTTPRequestHandler], bool]


class Uploads:
    """A registry's side of a push. `first` is asked before each answer, and returns True when it has answered."""

    def __init__(self, first: First = lambda _uploads, _handler: False) -> None:
        self.uploads: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.log: list[tuple[str, str, dict[str, str]]] = []
        self.base = ""
        self._first = first

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        self.log.append((handler.command, handler.path, dict(handler.headers)))
        if not self._first(self, handler):
            getattr(self, f"_{handler.command.lower()}")(handler)

    def calls(self, method: str) -> list[dict[str, str]]:
        """Return the headers of the requests for weights with this method."""
        return [headers for command, path, headers in self.log if command == method and "/manifests/" not in path]

    def _head(self, handler: BaseHTTPRequestHandler) -> None:
        respond(handler, 200 if handler.path.rpartition("/")[2] in self.blobs else 404)

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        name = uuid.uuid4().hex
        self.uploads[name] = b""
        respond(handler, 202, Location=f"{self.base}/v2/a/b/blobs/uploads/{name}?state=x")

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        name = urlsplit(handler.path).path.rpartition("/")[2]
        if name not in self.uploads:
            return respond(handler, 404)
        return respond(handler, 204, Range=f"0-{max(len(self.uploads[name]) - 1, 0)}")

    def _patch(self, handler: BaseHTTPRequestHandler) -> None:
        self.take(handler, int(handler.headers["Content-Length"]))
        respond(handler, 202, Location=handler.path)

    def take(self, handler: BaseHTTPRequestHandler, count: int) -> None:
        """Read so many bytes of an upload, and keep them."""
        name = urlsplit(handler.path).path.rpartition("/")[2]
        start, _, _ = handler.headers.get("Content-Range", "0").partition("-")
        assert int(start) == len(self.uploads[name])
        self.uploads[name] += handler.rfile.read(count)

    def _put(self, handler: BaseHTTPRequestHandler) -> None:
        data = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        if "/manifests/" in handler.path:
            self.manifests[handler.path.rpartition("/")[2]] = data
            return respond(handler, 201)
        digest = parse_qs(urlsplit(handler.path).query)["digest"][0]
        upload = self.uploads.pop(urlsplit(handler.path).path.rpartition("/")[2])
        if digest_of(upload) != digest:
            return respond(handler, 400, b'{"errors": [{"code": "DIGEST_INVALID", "message": "no"}]}')
        self.blobs[digest] = upload
        return respond(handler, 201)


def break_off(handler: BaseHTTPRequestHandler) -> None:
    """End the connection now, with bytes that nobody read."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def is_weights(handler: BaseHTTPRequestHandler) -> bool:
    return handler.command == "PATCH" and int(handler.headers["Content-Length"]) > len(CONFIG)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for data in (CONFIG, WEIGHTS):
        with store.write_blob() as writer:
            writer.write(data)
    return store


def outgoing(registry: str, *known_as: str) -> Outgoing:
    layer = Descriptor(GGUF, digest_of(WEIGHTS), len(WEIGHTS))
    document = build_manifest(Descriptor(CONFIG_TYPE, digest_of(CONFIG), len(CONFIG)), [layer])
    others = tuple(map(Reference.parse, known_as))
    reference = Reference.parse(f"{registry}/a/b:v1")
    return Outgoing(reference, digest_of(document), document, Manifest.parse(document, name="x"), others)


def assert_complete(uploads: Uploads) -> None:
    assert uploads.blobs == {digest_of(WEIGHTS): WEIGHTS, digest_of(CONFIG): CONFIG}
    assert list(uploads.manifests) == ["v1"]


def test_an_upload_that_breaks_off_goes_on_where_it_ended(source: OciSource, store: Store) -> None:
    taken = 3_000_000

    def first(uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if not is_weights(handler) or "Content-Range" in handler.headers:
            return False
        uploads.take(handler, taken)
        break_off(handler)
        return True

    uploads = Uploads(first)
    with Misbehaving(uploads) as server:
        source.push(outgoing(server.address), Transfer(store))

    assert_complete(uploads)
    ranges = [headers.get("Content-Range") for headers in uploads.calls("PATCH")]
    assert f"{taken}-{len(WEIGHTS) - 1}" in ranges


@pytest.mark.parametrize("answer_status", [404, 204])
def test_a_registry_that_forgets_an_upload_gets_it_anew(answer_status: int, source: OciSource, store: Store) -> None:
    """Debian's docker-registry answers 404 to every upload that broke off; others say that no byte came."""
    broken: list[str] = []

    def first(uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if is_weights(handler) and not broken:
            broken.append(handler.path)
            break_off(handler)
            return True
        if handler.command == "GET":
            respond(handler, answer_status, Range="0-0")
            return True
        return False

    uploads = Uploads(first)
    with Misbehaving(uploads) as server:
        source.push(outgoing(server.address), Transfer(store))

    assert_complete(uploads)
    assert broken
    assert all("Content-Range" not in headers for headers in uploads.calls("PATCH"))


def test_an_upload_that_never_gets_on_is_given_up(source: OciSource, store: Store) -> None:
    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if is_weights(handler):
            break_off(handler)
            return True
        return False

    uploads = Uploads(first)
    with Misbehaving(uploads) as server, pytest.raises(RegistryError, match="cannot be reached"):
        source.push(outgoing(server.address), Transfer(store))

    assert len([headers for headers in uploads.calls("PATCH") if int(headers["Content-Length"]) > len(CONFIG)]) == 3
    assert uploads.manifests == {}


def test_a_busy_registry_is_asked_again_when_it_says(source: OciSource, store: Store) -> None:
    times: list[float] = []

    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if handler.command == "PUT" and "/manifests/" in handler.path:
            times.append(time.monotonic())
            if len(times) == 1:
                handler.rfile.read(int(handler.headers["Content-Length"]))
                respond(handler, 429, Retry_After="2")
                return True
        return False

    uploads = Uploads(first)
    with Misbehaving(uploads) as server:
        source.push(outgoing(server.address), Transfer(store))

    assert_complete(uploads)
    assert times[1] - times[0] >= 2


def test_an_answer_that_got_lost_is_no_failure(source: OciSource, store: Store) -> None:
    """The registry has kept the blob, and the connection ends before it can say so."""
    lost: list[str] = []

    def first(uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        digest = parse_qs(urlsplit(handler.path).query).get("digest", [""])[0]
        if handler.command == "PUT" and digest == digest_of(WEIGHTS) and not lost:
            lost.append(digest)
            uploads.blobs[digest] = uploads.uploads.pop(urlsplit(handler.path).path.rpartition("/")[2])
            break_off(handler)
            return True
        return False

    uploads = Uploads(first)
    events: list[ProgressEvent] = []
    with Misbehaving(uploads) as server:
        source.push(outgoing(server.address), Transfer(store, events.append))

    assert_complete(uploads)
    assert len(lost) == 1
    assert "Already exists" in {event.status for event in events if event.layer == digest_of(WEIGHTS)}


def test_bytes_that_the_registry_finds_wrong_are_a_damaged_store(source: OciSource, store: Store) -> None:
    path = store.root / "blobs" / "sha256" / digest_of(WEIGHTS).removeprefix("sha256:")
    path.chmod(0o600)
    path.write_bytes(WEIGHTS[:-1] + b"x")
    uploads = Uploads()

    with Misbehaving(uploads) as server, pytest.raises(DigestMismatchError, match=r"other bytes.*dmrc verify"):
        source.push(outgoing(server.address), Transfer(store))

    assert uploads.manifests == {}


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

    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if handler.path.startswith("/token"):
            tokens.append(f"token{len(tokens)}")
            respond(handler, 200, json.dumps({"token": tokens[-1]}).encode())
            return True
        token = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        if is_weights(handler) and not ended:
            ended.append(token)
        if token in tokens and token not in ended:
            return False
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        respond(handler, 401, WWW_Authenticate=f'Bearer realm="http://{handler.headers["Host"]}/token"')
        return True

    uploads = Uploads(first)
    with Misbehaving(uploads) as server:
        log_in(docker_config, server.address)
        source.push(outgoing(server.address), Transfer(store))

    assert_complete(uploads)
    assert len(ended) == 1
    assert len(tokens) >= 2


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


def test_a_repository_that_must_be_made_first_is_said_so(source: OciSource, store: Store) -> None:
    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if handler.command != "POST":
            return False
        respond(handler, 404, b'{"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known"}]}')
        return True

    with Misbehaving(Uploads(first)) as server, pytest.raises(RegistryError) as caught:
        source.push(outgoing(server.address), Transfer(store))

    assert "repository name not known. Check the name; some registries want a repository made" in str(caught.value)


def test_a_push_that_is_not_allowed_tells_how_to_log_in(source: OciSource, store: Store) -> None:
    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if handler.command != "POST":
            return False
        respond(handler, 403, b'{"errors": [{"code": "DENIED", "message": "access denied"}]}')
        return True

    with Misbehaving(Uploads(first)) as server, pytest.raises(RegistryAuthError) as caught:
        source.push(outgoing(server.address), Transfer(store))

    assert f"access denied. Run: docker login {server.address}" in str(caught.value)


def test_a_mount_that_is_refused_is_no_failure(source: OciSource, store: Store) -> None:
    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if "from=" not in handler.path:
            return False
        respond(handler, 403)
        return True

    uploads = Uploads(first)
    with Misbehaving(uploads) as server:
        source.push(outgoing(server.address, f"{server.address}/c/d:v1"), Transfer(store))

    assert_complete(uploads)


def test_a_push_that_stalls_ends_soon_when_cancelled(source: OciSource, store: Store) -> None:
    begun = threading.Event()

    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if not is_weights(handler):
            return False
        begun.set()
        time.sleep(5)  # takes nothing, so that the buffers between us fill
        return True

    uploads = Uploads(first)
    with Misbehaving(uploads) as server:
        started = time.monotonic()
        with pytest.raises(CancelledError):
            source.push(outgoing(server.address), Transfer(store, cancelled=begun.is_set))

        assert time.monotonic() - started < 3
    assert uploads.manifests == {}


def test_a_file_range_goes_through_tls_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(WEIGHTS)
    server_side, client_side = socket.socketpair()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    for context in (server, client):  # anonymous, so that no certificate is needed
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("aNULL:@SECLEVEL=0")
    received = bytearray()

    def receive() -> None:
        with server.wrap_socket(server_side, server_side=True) as connection:
            while len(received) < len(WEIGHTS) - 1007:
                received.extend(connection.recv(1 << 20))

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    offsets: list[int] = []
    with path.open("rb") as stream, client.wrap_socket(client_side) as connection:
        FileRange(stream.fileno(), 1000, len(WEIGHTS) - 7, offsets.append).send_to(connection)
        thread.join(10)

    assert bytes(received) == WEIGHTS[1000:-7]
    assert offsets[-1] == len(WEIGHTS) - 7
