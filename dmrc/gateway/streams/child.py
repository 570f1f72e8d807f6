"""One stream process, as the daemon sees it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

from dmrc.background import BackgroundTasks
from dmrc.engines.environment import child_environment
from dmrc.gateway.streams.carrying import Carrying, ProcessDiedError
from dmrc.gateway.streams.channel import Channel
from dmrc.gateway.streams.frames import Outcome, Passed, StreamMessage, StreamOrder

_log = logging.getLogger(__name__)

_END_SECONDS = 2.0


class StreamChild:
    """A process that was started; one that has ended is not started again."""

    def __init__(self, process: asyncio.subprocess.Process, end: socket.socket, tasks: BackgroundTasks) -> None:
        """Talk to `process` by `end`; what it needs of the event loop is among `tasks`."""
        self.carried: dict[int, Carrying] = {}
        """The streams that it carries, by their numbers."""
        self.is_ready = False
        """Whether it can take streams."""
        self.has_ended = False
        """Whether it takes no more; where it was never ready, something here keeps such processes from working."""
        self.was_ready = False
        self._process = process
        self._tasks = tasks
        self._channel = Channel(end, self._take, self._cut)
        self._last = 0

    @classmethod
    async def started(cls, tasks: BackgroundTasks) -> StreamChild:
        """Start one.

        Raises:
            OSError: The system has no room for it.
        """
        here, there = socket.socketpair()
        with there:
            command = (sys.executable, "-P", "-m", "dmrc.gateway.streams.process", str(there.fileno()))
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    pass_fds=(there.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    env=child_environment(os.environ),
                )
            except BaseException:
                here.close()
                raise
        return cls(process, here, tasks)

    def carry(self, order: StreamOrder, caller: int, engine: int, passed: Callable[[Passed], None]) -> Carrying | None:
        """Have it carry a stream between two descriptors; None: it cannot, or takes none now."""
        number = self._last = (self._last + 1) % (1 << 32)
        packed = order.packed()
        if packed is None or not self._channel.send_with((caller, engine), StreamMessage.CARRY, number, packed):
            return None
        carrying = self.carried[number] = Carrying(lambda kind: self._channel.send(kind, number), passed)
        return carrying

    async def close(self) -> None:
        """End it; it lets go of all that it carries."""
        self.is_ready, self.has_ended = False, True
        self._channel.close()
        self._lose(await self._ended())

    def _take(self, kind: int, number: int, content: bytes) -> None:
        carrying = self.carried.get(number)
        if kind == StreamMessage.READY:
            self.is_ready = self.was_ready = True
        elif carrying is None:
            pass  # what it told before it heard that the stream was stopped
        elif kind == StreamMessage.PASSED:
            carrying.passed(Passed.unpacked(content))
        elif kind == StreamMessage.TOLD:
            carrying.told()
        else:
            del self.carried[number]
            carrying.end(Outcome.unpacked(content))

    def _cut(self) -> None:
        self.is_ready, self.has_ended = False, True
        self._tasks.spawn(self._bury())

    async def _bury(self) -> None:
        """Tell of a process that has ended by itself, or that can be talked to no more."""
        how = await self._ended()
        _log.warning("a stream process has ended: %s; it carried %d streams, which are cut", how, len(self.carried))
        self._lose(how)

    def _lose(self, how: str) -> None:
        error = ProcessDiedError(f"the process that carried the answer has ended: {how}", remedy="Ask again")
        carried, self.carried = self.carried, {}
        for carrying in carried.values():
            carrying.lose(error)

    async def _ended(self) -> str:
        """Wait for its end, and make it where it does not come; return how it ended."""
        try:
            async with asyncio.timeout(_END_SECONDS):
                code = await self._process.wait()
        except TimeoutError:
            self._process.kill()
            code = await self._process.wait()
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
