"""Sockets of the daemon, and the HTTP servers on them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import psutil
import uvicorn
from starlette.types import ASGIApp

from dmrc.background import begin
from dmrc.errors import DaemonError, PortTakenError
from dmrc.gateway.server.connection_shares import ConnectionShares
from dmrc.gateway.server.http_protocol import HttpConnection
from dmrc.gateway.server.input_limits import InputLimits
from dmrc.gateway.server.tls_entrance import Tls, TlsEntrance

LOOPBACK = "127.0.0.1"
"""Where the gateway always listens."""

_TICK_SECONDS = 1.0
# No page of another origin may use an answer as its own picture or script, whatever it holds.
_ON_EVERY_ANSWER = (("x-content-type-options", "nosniff"), ("cross-origin-resource-policy", "same-origin"))


class _Server(uvicorn.Server):
    """A server that leaves signals to the daemon: it has several servers and one end."""

    def __init__(self, config: uvicorn.Config, make: Callable[..., asyncio.Protocol]) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()
        self._make = make

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Set the clock of `Date`, and look at each connection, once a second.

        Uvicorn's own looks for its end ten times, while nothing happens.
        """
        loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            now = loop.time()
            for connection in [*self.server_state.connections]:
                cast(HttpConnection, connection).look(now)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _TICK_SECONDS)

    def end(self) -> None:
        """End soon."""
        self.should_exit = True
        self._ended.set()

    def connection(self) -> asyncio.Protocol:
        """Return what serves one more connection."""
        return self._make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


class _TlsServer(_Server):
    """A server whose connections come by an entrance of ours, for uvicorn bounds no handshake."""

    entrance: TlsEntrance

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        for bound in sockets or ():  # there is one
            self._accepting = begin(self.entrance.run(bound), "a TLS listener")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._accepting.cancel()
        await asyncio.gather(self._accepting, return_exceptions=True)
        await super().shutdown(sockets)


class Listener:
    """One HTTP server on one socket."""

    def __init__(
        self,
        app: ASGIApp,
        bound: socket.socket,
        shares: ConnectionShares,
        limits: InputLimits | None = None,
        tls: Tls | None = None,
    ) -> None:
        """Serve `app` on a socket that is bound already; must be made on the running event loop.

        `shares` says how many connections there may be; listeners may have one together. With `tls` it speaks that.
        """
        limits = limits or InputLimits()
        connection = functools.partial(HttpConnection, limits, shares)
        config = uvicorn.Config(
            app,
            loop="none",
            http=cast("type[asyncio.Protocol]", connection),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # nothing stands before us, so nobody may say who the caller is
            server_header=False,
            headers=[*_ON_EVERY_ANSWER],
            timeout_keep_alive=75,
            timeout_graceful_shutdown=2,
        )
        if tls is None:
            self._server = _Server(config, connection)
        else:
            self._server = by_tls = _TlsServer(config, connection)
            by_tls.entrance = TlsEntrance(tls, by_tls.connection, limits.handshake_seconds)
        self._task = begin(self._server.serve(sockets=[bound]), "a listener")

    async def close(self) -> None:
        """Stop listening; requests in flight get two seconds."""
        self._server.end()
        await self._task


def bind_tcp(address: str, port: int, setting: str = "DMRC_PORT={port}") -> socket.socket:
    """Return a bound TCP socket; `::` is every address of IPv4 and IPv6. `setting` is how a user says another port.

    Raises:
        PortTakenError: Someone else has the port; named where the system tells.
        DaemonError: The port is for privileged users only.
        OSError: The address is not one of this machine.
    """
    family, _, _, _, place = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        bound.bind(place)
        bound.listen(2048)
    except OSError as error:
        bound.close()
        if error.errno == errno.EACCES:
            raise DaemonError(
                f"port {port} on {address} cannot be used: {error.strerror}",
                remedy=f"Choose another: {setting.format(port=12434)}",
            ) from error
        if error.errno != errno.EADDRINUSE:
            raise
        raise PortTakenError(
            f"port {port} on {address} is taken{_holder(port)}",
            remedy=f"Stop that, or choose another port: {setting.format(port=port + 1)}",
        ) from error
    return bound


def bind_unix(path: Path) -> socket.socket:
    """Return a bound unix socket that only this user can open; a stale one is removed first."""
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        bound.bind(str(path))
    finally:
        os.umask(before)
    bound.listen(128)
    return bound


def _holder(port: int) -> str:
    """Return ` by NAME (process PID)` where the system tells who listens on a port."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return ""
    return ""
