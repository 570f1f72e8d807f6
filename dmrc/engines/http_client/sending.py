"""A long body of a request on its way."""

from __future__ import annotations

import asyncio

PIECE_BYTES = 256 << 10
"""What is sent at once: to encrypt 28 MB takes half a second, in which no stream would go on."""


class Sending:
    """Sends a body piece by piece, as the server takes it; others run between two pieces."""

    def __init__(self, transport: asyncio.Transport, body: bytes) -> None:
        """Begin after the first piece, which went with the head."""
        self._transport = transport
        self._rest = memoryview(body)[PIECE_BYTES:]
        self._is_paused = False
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Handle | None = self._loop.call_soon(self._send)

    @property
    def is_done(self) -> bool:
        """Whether the transport has all of it."""
        return not self._rest

    def pause(self) -> None:
        """Wait until the server has taken some of it."""
        self._is_paused = True

    def resume(self) -> None:
        """Go on."""
        self._is_paused = False
        if self._next is None:
            self._send()

    def _send(self) -> None:
        self._next = None
        if self._rest and not self._is_paused and not self._transport.is_closing():
            self._transport.write(self._rest[:PIECE_BYTES])
            self._rest = self._rest[PIECE_BYTES:]
            self._next = self._loop.call_soon(self._send)
