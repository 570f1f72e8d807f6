"""Looking at what tests of downloads leave in a store, and counting what their servers send."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

from dmrc.store import Store
from tests.sources.misbehaving import BIG, Misbehaving, digest_of

BLOB = digest_of(BIG)
PIECE_BYTES = 16 << 20

_CHUNK_BYTES = 64 << 10


def content(store: Store, digest: str = BLOB) -> bytes:
    return (store.root / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def kept_bytes(store: Store, digest: str = BLOB, size_bytes: int = len(BIG)) -> int:
    """Return how much of a blob waits for the next attempt."""
    held = store.open_partial(digest, size_bytes)
    assert held is not None, "somebody still brings it"
    with held as blob:
        return blob.received


def keep(store: Store, data: bytes) -> None:
    """Leave what an interrupted pull of the large layer would."""
    held = store.open_partial(BLOB, len(BIG))
    assert held is not None
    with held as blob:
        blob.write(0, data)


def partial_files(store: Store) -> list[str]:
    return [path.name for path in (store.root / "partial").iterdir()]


def ranges(server: Misbehaving) -> list[str]:
    """Return what was asked of the large layer, in order."""
    return [headers.get("Range", "all") for path, headers in server.requests if path.endswith(BLOB)]


class Counted:
    """An answer that counts the bytes of all bodies that it sends."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.sent_bytes = 0
        self.running = 0
        """Answers that have not ended."""
        self._answer = answer
        self._lock = threading.Lock()

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        send = handler.wfile.write

        def write(data: bytes) -> int:
            for offset in range(0, len(data), _CHUNK_BYTES):
                chunk = data[offset : offset + _CHUNK_BYTES]
                count = 0 if data.startswith(b"HTTP/") else len(chunk)
                self._add(count)  # before: who has the last byte may look at once
                try:
                    send(chunk)
                except OSError:
                    self._add(-count)
                    raise
            return len(data)

        handler.wfile.write = write
        self._add(0, running=1)
        try:
            self._answer(handler)
        finally:
            handler.wfile.write = send
            self._add(0, running=-1)

    def _add(self, sent_bytes: int, running: int = 0) -> None:
        with self._lock:
            self.sent_bytes += sent_bytes
            self.running += running
