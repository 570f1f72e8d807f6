"""The replicas as a bridge knows them: what the ledger tells, and what each says at its door."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from dmrc_ray import door
from dmrc_ray.place import Place

_COALESCE_SECONDS = 0.1
_LOG_SECONDS = 5.0


@dataclass(slots=True)
class Known:
    """One replica."""

    place: Place
    """What it tells of itself."""
    in_use: int = 0
    """Requests that it works on, those of other bridges too."""
    writer: asyncio.StreamWriter | None = None
    """Its door; None before it is open."""
    logs: deque[asyncio.Future[str]] = field(default_factory=deque)
    """Those who have asked it for its log, which it answers in this order."""
    opening: asyncio.Task[None] | None = None
    """The task that holds the door open."""

    def to_json(self) -> dict[str, Any]:
        """Return it as `GET /replicas` shows it."""
        place = self.place
        return {
            "name": place.name,
            "node": place.node,
            "state": place.state,
            "slots": place.slots,
            "in_use": self.in_use,
        }


class Places:
    """All replicas of one application."""

    def __init__(self, bridge: str, on_gone: Any) -> None:
        """Knock as `bridge`; `on_gone(name)` hears of one whose door has closed."""
        self._bridge, self._on_gone = bridge, on_gone
        self._known: dict[str, Known] = {}
        self._news = asyncio.Event()

    def ready(self) -> list[Known]:
        """Return those that answer."""
        return [each for each in self._known.values() if each.place.state == "ready"]

    def all(self) -> list[Known]:
        """Return all, in the order of their names."""
        return [self._known[name] for name in sorted(self._known)]

    def told(self, places: list[Place]) -> None:
        """Hear from the ledger which there are."""
        for name in self._known.keys() - {place.name for place in places}:
            self._drop(name)
        for place in places:
            self.know(place)

    def know(self, place: Place) -> None:
        """Hear of one, from the ledger or with a ticket, and open its door where it has one."""
        known = self._known.get(place.name)
        if known is None:
            known = self._known[place.name] = Known(place)
        elif known.place != place:
            known.place = place
        else:
            return
        if place.door and known.opening is None:
            known.opening = asyncio.create_task(self._hold_open(known))
        self.changed()

    def end(self, name: str, ticket: str) -> bool:
        """Tell a replica that a ticket has ended; return whether it could be told."""
        known = self._known.get(name)
        if known is None or known.writer is None:
            return False
        door.send(known.writer, {"end": ticket})
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
        door.send(known.writer, {"log": lines})
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
        """Close all doors: tickets end by that."""
        for name in [*self._known]:
            self._drop(name)

    async def _hold_open(self, known: Known) -> None:
        place = known.place
        try:
            reader, known.writer = await door.knock(place.host, place.door, place.key, self._bridge)
            while (said := await door.read(reader)) is not None:
                if "in_use" in said:
                    known.in_use = int(said["in_use"])
                    self.changed()
                elif "log" in said and known.logs and not (asked := known.logs.popleft()).done():
                    asked.set_result(str(said["log"]))
        except OSError:
            pass
        finally:
            if known.writer is not None:
                known.writer.close()
        if self._known.get(place.name) is known:
            del self._known[place.name]
            self.changed()
            self._on_gone(place.name)

    def _drop(self, name: str) -> None:
        known = self._known.pop(name)
        if known.opening is not None:
            known.opening.cancel()
        if known.writer is not None:
            known.writer.close()
        self.changed()
