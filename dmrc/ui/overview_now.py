"""What runs now, for the overview: its tables, and a stream that tells of their changes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from dmrc.capture.summary import model_name, short_id, who
from dmrc.project import DEFAULT_ENGINE
from dmrc.scheduler.description import describe_runner
from dmrc.ui.rendering import render

if TYPE_CHECKING:
    from dmrc.gateway.inference.exchange_builder import ExchangeBuilder
    from dmrc.gateway.plugins.context import DaemonParts

_LOOK_SECONDS = 0.25
_LOOKS_PER_MEMORY = 8
_LOOKS_PER_HEARTBEAT = 60
_MOST_RUNNING = 50
_TOLD_BYTES = 5_000_000  # memory that grows by less is no news


class Now:
    """Looks at requests and runners. For the event loop."""

    def __init__(self, parts: DaemonParts) -> None:
        """Look at the parts of this daemon."""
        self._parts = parts
        self._memory_now: dict[str, int] = {}

    def parts(self) -> dict[str, object]:
        """Return what the tables of the page show."""
        builders = list(self._parts.lifecycle.running.values())
        runners = [describe_runner(runner) for runner in self._parts.scheduler.runners()]
        return {
            "running": [self._running(builder) for builder in builders[:_MOST_RUNNING]],
            "more": max(0, len(builders) - _MOST_RUNNING),
            "waiting": sum(runner.waiting for runner in self._parts.scheduler.runners()),
            "models": [{**one, "name": model_name(str(one["model"]))} for one in runners],
            "memory": self._memory(),
            "cards": [device for seen in self._parts.scheduler.devices.last.values() for device in seen.devices],
            "now": time.time(),
        }

    async def events(self) -> AsyncIterator[bytes]:
        """Yield `now` with the tables when they have changed, and `progress` with the pieces of each running answer.

        It looks four times a second, however much happens, and does not watch the live events: for who watches those
        each exchange is read in this process.
        """
        told: object = None
        quiet = 0
        while not self._parts.live.is_closed:
            running, quiet = self._parts.lifecycle.running, quiet + 1
            if quiet % _LOOKS_PER_MEMORY == 1:
                self._memory_now = self._memory()
            if (key := self._key()) != told:
                told = key
                yield _event("now", {"html": render("overview_now.html", now=self.parts())})
            elif running:
                yield _event("progress", {one.id: one.chunks for one in running.values()})
            elif quiet % _LOOKS_PER_HEARTBEAT == 0:
                yield b": still here\n\n"
            await asyncio.sleep(_LOOK_SECONDS)

    def _key(self) -> object:
        """Return what the tables depend on, but for what changes all the time."""
        runners = tuple(
            (runner.target.key, runner.state, runner.in_use, runner.waiting, runner.expires_at)
            for runner in self._parts.scheduler.runners()
        )
        running = tuple((builder.id, builder.chunks > 0) for builder in self._parts.lifecycle.running.values())
        return running, runners, tuple(count // _TOLD_BYTES for count in self._memory_now.values())

    def _running(self, builder: ExchangeBuilder) -> dict[str, object]:
        began = self._parts.lifecycle.beginning(builder)
        return {
            "id": began.id,
            "short": short_id(began.id),
            "since": began.received_at,
            "who": who(began.project, began.service, began.client_address),
            "model": model_name(began.model),
            "operation": began.operation,
            "pieces": builder.chunks,
        }

    def _memory(self) -> dict[str, int]:
        """Return RAM in bytes: all of it, what models take, what others do, and what is free."""
        rooms = self._parts.scheduler.outlook.rooms(DEFAULT_ENGINE)
        processes = (runner.process for runner in self._parts.scheduler.runners())
        held = sum(process.resident_bytes() for process in processes if process is not None)
        free = min(rooms.now.ram_bytes, rooms.total_bytes)
        others = max(0, rooms.total_bytes - free - held)
        return {"total": rooms.total_bytes, "models": held, "others": others, "free": free}


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
