"""The replicas as a bridge knows them: what the registry tells, and what each says on its control connection."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from dmrc_ray import control
from dmrc_ray.replica_info import ReplicaInfo

_COALESCE_SECONDS = 0.1
_LOG_SECONDS = 5.0


@dataclass(slots=True)
class KnownReplica:
    """One replica."""

    info: ReplicaInfo
    """What it tells of itself."""
    in_use: int = 0
    """Requests that it works on, those of other bridges too."""
    writer: asyncio.StreamWriter | None = None
    """Its control connection; None before it is open."""
    logs: deque[asyncio.Future[str]] = field(default_factory=deque)
    """Those who have asked it for its log, which it answers in this order."""
    connecting: asyncio.Task[None] | None = None
    """The task that keeps the control connection open."""
    is_silent: bool = False
    """Whether nothing has come from it for so long that nothing more is waited for."""
    forwards: set[asyncio.StreamWriter] = field(default_factory=set)
    """Connections to its server, of the requests that are under way."""

    def to_json(self) -> dict[str, Any]:
        """Return it as `GET /replicas` shows it."""
        info = self.info
        return {
            "name": info.name,
            "node": info.node,
            "state": info.state,
            "slots": info.slots,
            "in_use": self.in_use,
        }


class Replicas:
    """All replicas of one application."""

    def __init__(self, bridge: str, on_gone: Any) -> None:
        """Connect as `bridge`; `on_gone(name)` hears of one whose control connection has ended."""
        self._bridge, self._on_gone = bridge, on_gone
        self._known: dict[str, KnownReplica] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    def ready(self) -> list[KnownReplica]:
        """Return those that answer."""
        return [each for each in self._known.values() if each.info.state == "ready"]

    def all(self) -> list[KnownReplica]:
        """Return all, in the order of their names."""
        return [self._known[name] for name in sorted(self._known)]

    def told(self, replicas: list[ReplicaInfo]) -> None:
        """Hear from the registry which there are."""
        for name in self._known.keys() - {info.name for info in replicas}:
            # Its connection is kept until it ends or falls silent: requests may be under way there.
            del self._known[name]
            self.changed()
        for info in replicas:
            self.know(info)

    def know(self, info: ReplicaInfo) -> KnownReplica:
        """Hear of one, from the registry or with a lease, and connect to it where it listens."""
        known = self._known.get(info.name)
        if known is None:
            known = self._known[info.name] = KnownReplica(info)
        elif known.info != info:
            known.info = info
        else:
            return known
        if info.control_port and known.connecting is None:
            known.connecting = asyncio.create_task(self._keep_connected(known))
            self._connections.add(known.connecting)
            known.connecting.add_done_callback(self._connections.discard)
        self.changed()
        return known

    def end(self, name: str, lease: str) -> bool:
        """Tell a replica that a lease has ended; return whether it could be told."""
        known = self._known.get(name)
        if known is None or known.writer is None:
            return False
        control.send(known.writer, {"end": lease})
        return True

    async def log(self, name: str, lines: int) -> str | None:
        """Ask a replica for the end of its log; None where there is no such replica.

        Raises:
            OSError: It is about to start, or does not answer.
        """
        known = self._known.get(name)
        if known is None:
            return None
        if known.writer is None:
            raise ConnectionError(f"replica {name} has not started yet")
        text: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        known.logs.append(text)
        control.send(known.writer, {"log": lines})
        async with asyncio.timeout(_LOG_SECONDS):
            return await text

    async def next_change(self) -> None:
        """Wait until something is another, and a moment more: under load there is a change at each request."""
        await self._news.wait()
        await asyncio.sleep(_COALESCE_SECONDS)

    def changed(self) -> None:
        """Wake those who wait."""
        self._news.set()
        self._news = asyncio.Event()

    def close(self) -> None:
        """Close all control connections: leases end by that."""
        for connection in self._connections:
            connection.cancel()
        self._known.clear()
        self.changed()

    async def _keep_connected(self, known: KnownReplica) -> None:
        info = known.info
        try:
            reader, known.writer = await control.connect(info.host, info.control_port, info.key, self._bridge)
            while (said := await _heard(reader)) is not None:
                if "in_use" in said:
                    known.in_use = int(said["in_use"])
                    self.changed()
                elif "log" in said and known.logs and not (asked := known.logs.popleft()).done():
                    asked.set_result(str(said["log"]))
        except TimeoutError:
            known.is_silent = True
            for forward in known.forwards:
                forward.transport.abort()
        except OSError:
            pass
        finally:
            if known.writer is not None:
                known.writer.close()
        if self._known.get(info.name) is known:
            del self._known[info.name]
            self.changed()
            self._on_gone(info.name)


async def _heard(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Return what a replica says next; None at the end.

    Raises:
        TimeoutError: It says nothing.
    """
    async with asyncio.timeout(control.SILENCE_SECONDS):
        return await control.read(reader)
