"""Pushing to registries that break off, forget, wait, redirect and lie."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from dmrc.errors import CancelledError, DigestMismatchError, RegistryError
from dmrc.sources import ProgressEvent, Transfer
from dmrc.sources.oci import OciSource
from dmrc.sources.request import FileRange
from dmrc.store import Store
from tests.sources.misbehaving import CONFIG, WEIGHTS, Misbehaving, digest_of, respond
from tests.sources.uploads import Uploads, assert_complete, break_off, filled_store, is_weights, outgoing


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled_store(tmp_path / "store")


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


@pytest.mark.slow("waits between its attempts")
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


@pytest.mark.slow("waits as the registry asks")
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


def test_a_repository_that_must_be_made_first_is_said_so(source: OciSource, store: Store) -> None:
    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if handler.command != "POST":
            return False
        respond(handler, 404, b'{"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known"}]}')
        return True

    with Misbehaving(Uploads(first)) as server, pytest.raises(RegistryError) as caught:
        source.push(outgoing(server.address), Transfer(store))

    assert "repository name not known. Check the name; some registries want a repository made" in str(caught.value)


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
    begun, ended = threading.Event(), threading.Event()

    def first(_uploads: Uploads, handler: BaseHTTPRequestHandler) -> bool:
        if not is_weights(handler):
            return False
        begun.set()
        ended.wait(60)  # takes nothing, so that the buffers between us fill
        return True

    uploads = Uploads(first)
    with Misbehaving(uploads) as server:
        started = time.monotonic()
        with pytest.raises(CancelledError):
            source.push(outgoing(server.address), Transfer(store, cancelled=begun.is_set))

        seconds = time.monotonic() - started
        ended.set()
    assert seconds < 10
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
