"""Request bodies in memory: each one bounded, and all of them together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive

from dmrc.errors import BusyError, InputError

BODY_LIMIT_BYTES = 256 << 20
"""A request larger than this is refused: images travel in bodies, films do not."""

BODIES_LIMIT_BYTES = 512 << 20
"""Requests that are read, wait or run may have so much together; the next byte is refused, with 503."""


class ClientDisconnected(Exception):
    """The caller went away before its answer was complete."""


class Bodies:
    """The bodies of all requests that have not ended. For one event loop."""

    def __init__(self, limit_bytes: int = BODIES_LIMIT_BYTES) -> None:
        """Begin with none."""
        self._limit_bytes = limit_bytes
        self._held_bytes = 0

    @asynccontextmanager
    async def read(self, receive: Receive) -> AsyncIterator[bytes]:
        """Read a body, which counts until the end of the block.

        Raises:
            ClientDisconnected: The caller went away meanwhile.
            InputError: It is larger than one may be.
            BusyError: It does not fit beside those of other requests.
        """
        chunks: list[bytes] = []
        size = 0
        more = True
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnected
                chunk = message.get("body", b"")
                size += len(chunk)
                self._held_bytes += len(chunk)
                self._refuse_beyond_the_limits(size)
                chunks.append(chunk)
                more = message.get("more_body", False)
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            self._held_bytes -= size

    def _refuse_beyond_the_limits(self, size: int) -> None:
        if size > BODY_LIMIT_BYTES:
            raise InputError(f"the request is larger than {BODY_LIMIT_BYTES >> 20} MiB")
        if self._held_bytes > self._limit_bytes:
            raise BusyError(
                f"the requests that wait have {self._limit_bytes >> 20} MiB together already",
                retry_after_seconds=5,
                remedy="Try again later, or send less at once",
            )
