"""A server whose files begin and do not end: what pulls from it run for as long as a test wants."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.serving import serving

_TRICKLE_SECONDS = 1.0
# A GGUF header whose first key is long, so that what trickles in is no mistake for a minute.
_BEGINNING = b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 64)


class _Slow(BaseHTTPRequestHandler):
    """Sends the beginning of any file, then nothing, or a byte now and then."""

    server: SlowServer

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 30))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(_BEGINNING)
        self.wfile.flush()
        self.server.asked_for.add(self.path)
        self.server.asked.set()
        while not self.server.ended.wait(_TRICKLE_SECONDS):
            if self.server.trickles:
                self.wfile.write(b"k")

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class SlowServer(socketserver.ThreadingTCPServer):
    """On a free port of loopback."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *, trickles: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Slow)
        self.trickles = trickles
        self.asked, self.ended = threading.Event(), threading.Event()
        self.asked_for: set[str] = set()
        """Paths of which the beginning was sent."""

    def url(self, name: str = "m.gguf") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def handle_error(self, *_arguments: object) -> None:
        """A caller who goes away is what tests are about."""


@contextmanager
def slow_server(*, trickles: bool = False) -> Iterator[SlowServer]:
    """Serve until the end of the block."""
    server = SlowServer(trickles=trickles)
    with serving(server):
        yield server
        server.ended.set()
