"""How a server is reached: what a session needs of it, and a runner's unix socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from dmrc.engines.http_client.connection import ClientConnection
from dmrc.engines.http_client.connection_options import ConnectionOptions

_CONNECT_SECONDS = 10.0
_CONNECT_PAUSE_SECONDS = 0.005

NewConnection = Callable[[], ClientConnection]
"""Makes a connection that is not open yet."""


class UnreachableError(ConnectionError):
    """No connection came about."""

    def __init__(self, reason: str, *, is_proxys: bool = False) -> None:
        """Say why; `is_proxys`: the proxy cannot be reached, or says so."""
        super().__init__(f"it cannot be reached: {reason}")
        self.reason = reason
        self.is_proxys = is_proxys
        self.was_sent = False
        """Whether the server may have read the request before, on a kept connection that then ended."""


class Connector(Protocol):
    """Opens connections to one server."""

    host: str
    """What requests call it: `api.example.com:8443`."""
    prefix: str
    """What stands before a path in the request line: nothing, or as a proxy wants it, `http://api.example.com`."""
    headers: Mapping[str, str]
    """What is sent beside each request: what a proxy wants."""
    options: ConnectionOptions
    """How it is waited for, and how it keeps its connections."""

    async def connect(self, new: NewConnection) -> ClientConnection:
        """Open a connection.

        Raises:
            UnreachableError: It did not come about.
        """


class UnixConnector:
    """Connects to a runner's unix socket; see `Connector`."""

    host = "runner"
    prefix = ""
    headers: Mapping[str, str] = {}
    # llama.cpp's server ends the connection after a stream without a word before.
    options = ConnectionOptions(keeps_after_streams=False)

    def __init__(self, socket: Path) -> None:
        """Connect to `socket`."""
        self._socket = str(socket)

    async def connect(self, new: NewConnection) -> ClientConnection:
        """Open a connection. The engine's backlog is 5, and when it is full the system says to try again."""
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + _CONNECT_SECONDS
        while True:
            try:
                _, connection = await loop.create_unix_connection(new, self._socket)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise UnreachableError(f"it takes no connection for {_CONNECT_SECONDS:.0f} s") from error
                await asyncio.sleep(_CONNECT_PAUSE_SECONDS)
            except OSError as error:
                raise UnreachableError(error.strerror or str(error)) from error
            else:
                return connection
