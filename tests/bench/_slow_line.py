"""A line to a registry with a round trip of some milliseconds and so many bytes a second for each connection.

Run as a process of its own, `python -m tests.bench._slow_line ADDRESS`; it prints its own address. What comes back
waits for a round trip, so a client has no more under way than its receive window, as on a real line.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from collections import deque

ROUND_TRIP_SECONDS = 0.020
BYTES_PER_SECOND = 50e6

_CHUNK_BYTES = 64 << 10
_LARGEST_WINDOW_BYTES = 4 << 20
# Source: struct tcp_info in https://github.com/torvalds/linux/blob/master/include/uapi/linux/tcp.h, tcpi_snd_wnd.
_WINDOW_OFFSET = 228


class _Line:
    """One connection, from the registry to the client."""

    def __init__(self, upstream: socket.socket, client: socket.socket, *, window: bool) -> None:
        self._upstream = upstream
        self._client = client
        self._has_window = window
        self._widest = 0
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._under_way_bytes = 0
        self._is_over = False
        self._changed = threading.Condition()

    def run(self) -> None:
        threading.Thread(target=self._take, daemon=True).start()
        due = 0.0
        while True:
            with self._changed:
                while not self._under_way:
                    if self._is_over:
                        return
                    self._changed.wait()
                arrives, data = self._under_way[0]
            due = max(due, arrives) + len(data) / BYTES_PER_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
            self._client.sendall(data)
            with self._changed:
                self._under_way.popleft()
                self._under_way_bytes -= len(data)
                self._changed.notify_all()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._upstream.recv(_CHUNK_BYTES):
                with self._changed:
                    while self._under_way and self._under_way_bytes + len(data) > self._window():
                        self._changed.wait()
                    self._under_way.append((time.monotonic() + ROUND_TRIP_SECONDS, data))
                    self._under_way_bytes += len(data)
                    self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _window(self) -> int:
        """Return the widest window that the client ever had: here bytes arrive in lumps, and narrow it for a moment."""
        if not self._has_window:
            return _LARGEST_WINDOW_BYTES
        info = self._client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        self._widest = max(self._widest, struct.unpack_from("I", info, _WINDOW_OFFSET)[0])
        return self._widest


def _serve(client: socket.socket, address: tuple[str, int], *, window: bool) -> None:
    with contextlib.suppress(OSError), client, socket.create_connection(address) as upstream:
        threading.Thread(target=_pump, args=(client, upstream), daemon=True).start()
        _Line(upstream, client, window=window).run()


def _pump(source: socket.socket, destination: socket.socket) -> None:
    with contextlib.suppress(OSError):
        try:
            while data := source.recv(_CHUNK_BYTES):
                destination.sendall(data)
        finally:
            destination.shutdown(socket.SHUT_WR)


def main() -> None:
    host, _, port = sys.argv[1].rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            client, _ = listener.accept()
            arguments = {"window": "--window" in sys.argv}
            threading.Thread(target=_serve, args=(client, (host, int(port))), kwargs=arguments, daemon=True).start()


if __name__ == "__main__":
    main()
