"""A proxy before a registry that counts what its clients were sent, and may slow it down."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

_CHUNK_BYTES = 64 << 10
_SEND_BUFFER_BYTES = 64 << 10


class CountingProxy:
    """Forwards connections to `address`, which may be down at times."""

    def __init__(self, address: str) -> None:
        self._upstream = address.split(":")
        self._listener = socket.create_server(("127.0.0.1", 0))
        # Small, so that what counts as sent has left this machine's side of the connection.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._lock = threading.Lock()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent_bytes = 0
        """Bytes sent to clients, headers among them."""
        self.open_connections = 0
        """Connections that clients have now."""
        self.bytes_per_second: float | None = None
        """Speed of each connection."""
        self.on_sent: Callable[[int], None] = lambda _total: None
        """Hears the total after each chunk."""

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _forward(self, client: socket.socket) -> None:
        with self._lock:
            self.open_connections += 1
        try:
            host, port = self._upstream
            with contextlib.suppress(OSError), client, socket.create_connection((host, int(port))) as upstream:
                threading.Thread(target=_pump, args=(client, upstream), daemon=True).start()
                try:
                    self._send(upstream, client)
                finally:
                    # The other thread reads from it, so that closing alone would tell the client nothing.
                    client.shutdown(socket.SHUT_RDWR)
        finally:
            with self._lock:
                self.open_connections -= 1

    def _send(self, upstream: socket.socket, client: socket.socket) -> None:
        while data := upstream.recv(_CHUNK_BYTES):
            client.sendall(data)
            with self._lock:
                self.sent_bytes += len(data)
                total = self.sent_bytes
            self.on_sent(total)
            if self.bytes_per_second is not None:
                time.sleep(len(data) / self.bytes_per_second)


def _pump(source: socket.socket, destination: socket.socket) -> None:
    with contextlib.suppress(OSError):
        try:
            while data := source.recv(_CHUNK_BYTES):
                destination.sendall(data)
        finally:
            destination.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def counting_proxy(address: str) -> Iterator[CountingProxy]:
    """Run a proxy on a free port of loopback."""
    proxy = CountingProxy(address)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(10)
