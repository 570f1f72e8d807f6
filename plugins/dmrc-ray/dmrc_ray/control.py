"""What bridge and replica say to each other beside the requests: lines of JSON on one TCP connection.

The bridge tells which leases have ended and asks for the log; the replica tells how many are in use, again and again.
When either is gone the other one knows at once, and a replica whose machine hangs is known by its silence.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_LINE_BYTES = 4 << 20
LONGEST_TEXT = _LINE_BYTES // 16
"""Characters that fit into a line, of which JSON writes some with twelve bytes."""

SILENCE_SECONDS = 8.0
"""How long a replica says nothing before it counts as gone."""

_PATIENCE_SECONDS = 10.0
_BEAT_SECONDS = 1.0
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3))


def keep_alive(writer: asyncio.StreamWriter) -> None:
    """Let the system look whether the other machine is still there, which a machine without power does not tell."""
    found: socket.socket = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        found.setsockopt(socket.IPPROTO_TCP, option, value)


class Leases:
    """The slots of a replica that are leased to requests, and to whose."""

    def __init__(self) -> None:
        """Have none."""
        self._open: dict[tuple[str, str], asyncio.Event] = {}
        self._bridges: dict[str, set[asyncio.StreamWriter]] = {}

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def opened(self, bridge: str, lease: str) -> Iterator[asyncio.Event]:
        """Count a lease, and yield what is set when it has ended."""
        ended = self._open[bridge, lease] = asyncio.Event()
        self._tell()
        try:
            yield ended
        finally:
            del self._open[bridge, lease]
            self._tell()

    async def wait(self, bridge: str, ended: asyncio.Event) -> None:
        """Return when the bridge says that a lease has ended, or is gone, or has never come."""
        while not ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _PATIENCE_SECONDS)
            if not self._bridges.get(bridge):
                return

    def end(self, bridge: str, lease: str | None = None) -> None:
        """End a lease, or all of a bridge."""
        for (owner, name), ended in self._open.items():
            if owner == bridge and lease in (None, name):
                ended.set()

    async def _beat(self, writer: asyncio.StreamWriter) -> None:
        while True:
            send(writer, {"in_use": len(self._open)})
            await asyncio.sleep(_BEAT_SECONDS)

    def _tell(self) -> None:
        for writers in self._bridges.values():
            for writer in writers:
                send(writer, {"in_use": len(self._open)})

    async def serve(self, host: str, key: str, log: Callable[[int], Awaitable[str]]) -> asyncio.Server:
        """Listen on a free port of `host` for bridges that know the key; `log` returns that many lines."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            keep_alive(writer)
            bridge, beats = "", None
            try:
                hello = None
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PATIENCE_SECONDS):
                        hello = await read(reader)
                if hello is None or not hmac.compare_digest(str(hello.get("key")).encode(), key.encode()):
                    return
                bridge = str(hello["bridge"])
                self._bridges.setdefault(bridge, set()).add(writer)
                beats = asyncio.create_task(self._beat(writer))
                while (said := await read(reader)) is not None:
                    if "end" in said:
                        self.end(bridge, said["end"])
                    elif "log" in said:
                        send(writer, {"log": await log(int(said["log"]))})
            finally:
                if beats is not None:
                    beats.cancel()
                writers = self._bridges.get(bridge, set())
                writers.discard(writer)
                if bridge and not writers:
                    self._bridges.pop(bridge, None)
                    self.end(bridge)
                writer.close()

        return await asyncio.start_server(talk, host, 0, limit=_LINE_BYTES)


async def read(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Return the next line; None at the end."""
    try:
        line = await reader.readline()
        return dict(json.loads(line)) if line else None
    except (OSError, TypeError, ValueError):
        return None


def send(writer: asyncio.StreamWriter, document: dict[str, Any]) -> None:
    """Send a line; what the other end does not take is its loss."""
    if not writer.is_closing():
        writer.write(json.dumps(document).encode() + b"\n")


async def connect(host: str, port: int, key: str, bridge: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the control port of a replica.

    Raises:
        OSError: It is not there.
    """
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(host, port, limit=_LINE_BYTES)
    keep_alive(writer)
    send(writer, {"key": key, "bridge": bridge})
    return reader, writer
