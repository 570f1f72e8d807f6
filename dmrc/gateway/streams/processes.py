"""The stream processes of a daemon: started with its first stream, and again where one has died."""

from __future__ import annotations

import asyncio
import logging
import os

from dmrc.background import BackgroundTasks
from dmrc.gateway.streams.child import StreamChild

_log = logging.getLogger(__name__)

_LEAST_CORES = 8
"""Of a machine on which processes of their own are worth their memory; on fewer they would only share the cores."""
_USUAL_MOST = 4


class StreamProcesses:
    """Deals streams to processes. For one event loop."""

    def __init__(self, count: int | None) -> None:
        """Have so many; None is by the cores of this machine. With 0 each stream stays in the daemon."""
        self._count = usual_count(os.cpu_count() or 1) if count is None else count
        self._children: list[StreamChild] = []
        self._tasks = BackgroundTasks("a stream process")
        self._starting: asyncio.Task[None] | None = None

    def free(self) -> StreamChild | None:
        """Return the process that carries the fewest streams; None: no one is ready, and a stream stays in the daemon.

        Those that are missing are started meanwhile.
        """
        if not self._count:
            return None
        ready = [child for child in self._children if child.is_ready]
        if len(ready) < self._count and (self._starting is None or self._starting.done()):
            self._starting = self._tasks.spawn(self._start())
        return min(ready, key=lambda child: len(child.carried), default=None)

    async def close(self) -> None:
        """End all of them."""
        self._count = 0
        await self._tasks.close()
        await asyncio.gather(*(child.close() for child in self._children))

    async def _start(self) -> None:
        if any(child.has_ended and not child.was_ready for child in self._children):
            _log.error("stream processes do not start here, so the daemon carries its streams itself")
            self._count = 0
        self._children = [child for child in self._children if not child.has_ended]
        while len(self._children) < self._count:
            try:
                self._children.append(await StreamChild.started(self._tasks))
            except OSError as error:
                _log.warning("no stream process can be started, so the daemon carries its streams: %s", error)
                return


def usual_count(cores: int) -> int:
    """Return how many processes there are where no setting says it."""
    return 0 if cores < _LEAST_CORES else min(_USUAL_MOST, cores // 4)
