"""A stream process: `python -m dmrc.gateway.streams.process DESCRIPTOR`, which is its end of the daemon's channel.

It ends when the daemon closes the channel, or is gone.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from functools import partial

from dmrc.background import begin
from dmrc.gateway.streams.carried_stream import CarriedStream
from dmrc.gateway.streams.channel import Channel
from dmrc.gateway.streams.frames import Outcome, StreamMessage, StreamOrder

_TELL_SECONDS = 0.25


class StreamProcess:
    """All streams of this process, by their numbers."""

    def __init__(self, end: socket.socket) -> None:
        """Take orders from `end`."""
        self._ended = asyncio.Event()
        self._channel = Channel(end, self._take, self._ended.set)
        self._streams: dict[int, CarriedStream] = {}
        self._tasks: dict[int, asyncio.Task[Outcome]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Carry streams until the daemon closes the channel."""
        self._channel.send(StreamMessage.READY, 0)
        await self._ended.wait()

    def _take(self, kind: int, number: int, content: bytes) -> None:
        if kind == StreamMessage.CARRY:
            self._begin(number, StreamOrder.unpacked(content))
        elif kind == StreamMessage.ASK:  # of one that has ended all was told
            self._tell(number)
            self._channel.send(StreamMessage.TOLD, number)
        elif number in self._tasks:
            self._tasks[number].cancel()

    def _begin(self, number: int, order: StreamOrder) -> None:
        caller, engine = (socket.socket(fileno=self._channel.descriptor()) for _ in range(2))
        for connection in (caller, engine):
            connection.setblocking(False)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TELL_SECONDS, self._tell_all)
        stream = self._streams[number] = CarriedStream(order, caller, partial(self._tell, number))
        task = self._tasks[number] = begin(stream.run(engine), "a stream")
        task.add_done_callback(partial(self._end, number))

    def _end(self, number: int, task: asyncio.Task[Outcome]) -> None:
        self._tell(number)
        del self._streams[number], self._tasks[number]
        # One that was stopped before its first step has done nothing with the caller's connection.
        outcome = Outcome() if task.cancelled() else task.result()
        self._channel.send(StreamMessage.ENDED, number, outcome.packed())

    def _tell(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is None or (passed := stream.told()) is None:
            return
        self._channel.send(StreamMessage.PASSED, number, passed.packed())
        if self._channel.is_congested:
            stream.hold("daemon")
            self._channel.when_sent(lambda: stream.go_on("daemon"))

    def _tell_all(self) -> None:
        """Tell of all streams, again and again while there are some: what passed since then is lost where this dies."""
        self._timer = None
        for number in self._streams:
            self._tell(number)
        if self._streams:
            self._timer = asyncio.get_running_loop().call_later(_TELL_SECONDS, self._tell_all)


def main(descriptor: int) -> None:
    """Run until the daemon ends."""
    import uvloop

    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # of a terminal or a service manager: the daemon gets it too, and ends us

    async def carry() -> None:
        await StreamProcess(socket.socket(fileno=descriptor)).run()

    uvloop.run(carry())


if __name__ == "__main__":
    main(int(sys.argv[1]))
