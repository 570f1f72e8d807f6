"""What a push asks of a registry, with a part of a file as the body: sent by the kernel where it can."""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

_STEP_BYTES = 4 << 20
# Small enough that a slow line takes one within the time for a stall.
_READ_BYTES = 256 << 10
_POLL_SECONDS = 0.1
_STALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class FileRange:
    """The bytes of a file from one offset to another. It can be sent more than once."""

    descriptor: int
    """Of a file that is open for reading; its own position does not matter and does not change."""
    start: int
    """Offset of the first byte."""
    end: int
    """Offset behind the last byte."""
    on_sent: Callable[[int], None] = lambda _offset: None
    """Gets the offset reached, often. What it raises ends the request."""

    def send_to(self, connection: socket.socket) -> None:
        """Send it all.

        Raises:
            TimeoutError: The other side has taken nothing for a minute.
            OSError: The connection broke, or the file cannot be read.
        """
        connection.settimeout(_STALL_SECONDS)
        can_sendfile = hasattr(os, "sendfile") and not isinstance(connection, ssl.SSLSocket)
        send = self._send_by_kernel if can_sendfile else self._send_by_reading
        offset, deadline = self.start, time.monotonic() + _STALL_SECONDS
        while offset < self.end:
            sent = send(connection, offset)
            offset += sent
            if sent:
                deadline = time.monotonic() + _STALL_SECONDS
            elif time.monotonic() > deadline:
                raise TimeoutError(f"nothing was taken for {_STALL_SECONDS:.0f} seconds")
            self.on_sent(offset)

    def _send_by_kernel(self, connection: socket.socket, offset: int) -> int:
        """Send the next bytes, and return how many; 0 when the other side takes none at the moment."""
        # Below Python's own methods a socket with a timeout does not block.
        count = min(self.end - offset, _STEP_BYTES)
        try:
            sent = os.sendfile(connection.fileno(), self.descriptor, offset, count)
        except BlockingIOError:
            poll = select.poll()
            poll.register(connection, select.POLLOUT)
            poll.poll(_POLL_SECONDS * 1000)
            return 0
        if sent == 0:
            raise OSError("the file is shorter than it was")
        return sent

    def _send_by_reading(self, connection: socket.socket, offset: int) -> int:
        data = os.pread(self.descriptor, min(self.end - offset, _READ_BYTES), offset)
        if not data:
            raise OSError("the file is shorter than it was")
        connection.sendall(data)
        return len(data)


@dataclass(frozen=True, slots=True)
class Request:
    """What a push asks of a registry."""

    method: str
    """`HEAD`, `POST`, `PATCH`, `PUT`, `GET`."""
    target: str
    """Relative to the repository (`blobs/uploads/`), or a `Location` that the registry gave."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Without Authorization."""
    body: bytes | FileRange | None = None
    """What to send."""


class _HttpConnection(HTTPConnection):
    def send(self, data: Any) -> None:
        if isinstance(data, FileRange):
            data.send_to(self.sock)
        else:
            super().send(data)


class _HttpsConnection(HTTPSConnection):
    def send(self, data: Any) -> None:
        if isinstance(data, FileRange):
            data.send_to(self.sock)
        else:
            super().send(data)


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


def with_file_ranges(pool: urllib3.PoolManager) -> urllib3.PoolManager:
    """Return the pool, whose requests from now on take `[FileRange]` as their body, with a `Content-Length`."""
    pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pool
