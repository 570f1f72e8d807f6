"""Accepts connections of the listener for other machines, and shakes hands: bounded in time and in number."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

from dmrc.background import BackgroundTasks, beside
from dmrc.gateway.server.certificates import CertificateFiles
from dmrc.gateway.server.connection_shares import ConnectionShares

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_RETRY_SECONDS = 1.0
_SHUTDOWN_SECONDS = 5.0
_PACE_SECONDS = 0.002
"""From one handshake to the next: each computes for 1 ms on the event loop that all streams share."""
_USE_HTTPS = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 56\r\nconnection: close\r\n\r\n"
    b"this port of dmrc speaks TLS: write https:// in the URL\n"
)


@dataclass(frozen=True, slots=True)
class Tls:
    """What a listener needs to speak TLS."""

    certificates: CertificateFiles
    """What it shows."""
    handshakes: ConnectionShares
    """How many handshakes may be under way: the one that takes longest makes room."""


class TlsEntrance:
    """Turns what connects to a socket into connections of HTTP. For one event loop."""

    def __init__(self, tls: Tls, make: Callable[[], asyncio.Protocol], handshake_seconds: float) -> None:
        """Give each caller who has shaken hands in time to the protocol that `make` returns."""
        self._certificates = tls.certificates
        self._shares = tls.handshakes
        self._make = make
        self._handshake_seconds = handshake_seconds
        self._running = BackgroundTasks("a TLS handshake")

    async def run(self, bound: socket.socket) -> None:
        """Accept until cancelled."""
        bound.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            with beside(self._follow_files(), "the look at the files of a certificate"):
                while True:
                    try:
                        connection, peer = await loop.sock_accept(bound)
                    except OSError as error:
                        _log.warning("a connection cannot be accepted: %s", error)
                        await asyncio.sleep(_RETRY_SECONDS)
                        continue
                    self._running.spawn(self._shake(connection, str(peer[0])))
                    await asyncio.sleep(_PACE_SECONDS)
        finally:
            await self._running.close()

    async def _shake(self, connection: socket.socket, address: str) -> None:
        connection.setblocking(False)
        handshake = _Handshake(connection, address, self._shares, self._make)
        if not self._shares.join(handshake, address):
            connection.close()  # there is no answer that it could read yet
            return
        try:
            async with asyncio.timeout(self._handshake_seconds):
                first = await _first_byte(connection)
            if first.isalpha() or not first:
                _explain(connection)
                return
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: handshake,
                connection,
                ssl=self._certificates.current.context,
                ssl_handshake_timeout=self._handshake_seconds,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )
        except OSError as error:  # whatever was sent was no handshake, or not in time
            _log.debug("no TLS handshake with %s: %s", address, error)
        finally:
            handshake.end()

    async def _follow_files(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.to_thread(self._certificates.look)


async def _first_byte(connection: socket.socket) -> bytes:
    """Wait for something to read, and return its first byte, which stays there; nothing where the caller hung up."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_reader(connection, arrived.set)
    try:
        await arrived.wait()
    finally:
        loop.remove_reader(connection)
    return connection.recv(1, socket.MSG_PEEK)


def _explain(connection: socket.socket) -> None:
    """Answer who speaks plain HTTP, whose methods are letters, as no record of TLS begins."""
    with connection:
        if connection.recv(65536):  # what is not read costs the caller the answer
            connection.send(_USE_HTTPS)


class _Handshake(asyncio.Protocol):
    """Holds the place of a connection until HTTP takes it over."""

    def __init__(
        self, connection: socket.socket, address: str, shares: ConnectionShares, make: Callable[[], asyncio.Protocol]
    ) -> None:
        self._connection = connection
        self._address = address
        self._shares = shares
        self._make = make
        self._is_counted = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand over: the handshake is done."""
        self._leave()
        protocol = self._make()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def give_way(self) -> None:
        """End: somebody else needs the place."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Close what was not handed over."""
        if self._is_counted:
            self._leave()
            self._connection.close()

    def _leave(self) -> None:
        self._is_counted = False
        self._shares.leave(self, self._address)
