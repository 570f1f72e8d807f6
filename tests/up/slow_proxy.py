"""A proxy before a registry that lets a few bytes through, and then almost none."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_FAST_BYTES = 64 << 10
_SLOW_BYTES = 256
_SLOW_SECONDS = 0.05


class SlowProxy:
    """Forwards connections to `address`; each brings 64 KiB at full speed and then 5 kB a second."""

    def __init__(self, address: str) -> None:
        self._upstream = address.split(":")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._end = threading.Event()
        self.is_slow = threading.Event()
        """Set when a transfer has become slow."""
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while not self._end.is_set():
                client, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def close(self) -> None:
        self._end.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.create_connection((self._upstream[0], int(self._upstream[1]))) as upstream:
            threading.Thread(target=_pump, args=(client, upstream), daemon=True).start()
            passed = 0
            with contextlib.suppress(OSError):
                while not self._end.is_set():
                    data = upstream.recv(4096 if passed < _FAST_BYTES else _SLOW_BYTES)
                    if not data:
                        break
                    client.sendall(data)
                    passed += len(data)
                    if passed >= _FAST_BYTES:
                        self.is_slow.set()
                        self._end.wait(_SLOW_SECONDS)


def _pump(source: socket.socket, destination: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(4096):
            destination.sendall(data)
        destination.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def slow_proxy(address: str) -> Iterator[SlowProxy]:
    """Run a proxy on a free port of loopback."""
    proxy = SlowProxy(address)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(10)
