"""The caller's end of a stream, in a stream process: chunks go to the socket at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable


class CallerEnd:
    """Writes an answer in chunks (RFC 9112, section 7.1), but for the last one, which is the daemon's.

    What the caller does not take waits here, and whoever writes is told to hold back. A caller who is gone takes
    everything: it is the daemon that hears of that, and decides.
    """

    def __init__(self, connection: socket.socket, hold: Callable[[], None], go_on: Callable[[], None]) -> None:
        """Write to a socket that does not block; `hold` and `go_on` are called in turn."""
        self._connection = connection
        self._hold, self._go_on = hold, go_on
        self._loop = asyncio.get_running_loop()
        self._unsent = b""
        self._is_gone = False
        self._drained: asyncio.Future[None] | None = None

    def write(self, chunk: bytes) -> None:
        """Write a chunk, which is not empty."""
        framed = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        if self._is_gone:
            return
        if self._unsent:
            self._unsent += framed
            return
        self._unsent = self._rest_of(framed)
        if self._unsent:
            self._loop.add_writer(self._connection, self._write_on)
            self._hold()

    @property
    def is_cut(self) -> bool:
        """Return whether the system has not taken all of what was written."""
        return bool(self._unsent)

    async def drained(self) -> None:
        """Wait until the system has taken all."""
        if self._unsent:
            self._drained = self._loop.create_future()
            await self._drained

    def close(self) -> None:
        """Let go of the socket: the connection stays, for the daemon has it too."""
        if self._connection.fileno() >= 0:
            self._loop.remove_writer(self._connection)
            self._connection.close()

    def _write_on(self) -> None:
        self._unsent = self._rest_of(self._unsent)
        if self._unsent:
            return
        self._loop.remove_writer(self._connection)
        self._go_on()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _rest_of(self, data: bytes) -> bytes:
        try:
            return data[self._connection.send(data) :]
        except BlockingIOError:
            return data
        except OSError:
            self._is_gone = True
            return b""
