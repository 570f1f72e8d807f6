"""The registry's side of a push, which tests may make fail, and a model to push."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from dmrc.artifact import CONFIG as CONFIG_TYPE
from dmrc.artifact import GGUF, Descriptor, Manifest, build_manifest
from dmrc.reference import Reference
from dmrc.sources import Outgoing
from dmrc.store import Store
from tests.sources.misbehaving import CONFIG, WEIGHTS, digest_of, respond

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


def filled_store(root: Path) -> Store:
    """Return a store with the blobs of one model."""
    store = Store(root)
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
