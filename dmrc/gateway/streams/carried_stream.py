"""One stream in a stream process: from the engine's socket to the caller's."""

from __future__ import annotations

import array
import asyncio
import socket
import time
from collections.abc import Callable
from functools import partial

from dmrc.engines.http_client.connection import ClientConnection
from dmrc.engines.http_client.http_answer import HttpAnswer
from dmrc.engines.http_client.idle_connections import IdleConnections
from dmrc.errors import DmrcError, where
from dmrc.gateway.streams.caller_end import CallerEnd
from dmrc.gateway.streams.frames import Outcome, Passed, StreamOrder
from dmrc.streaming import Give, Giver, give_through

_LONGEST_UNTOLD_BYTES = 256 << 10


class CarriedStream:
    """Carries one stream, and keeps what has passed until the daemon is told of it; see `Sink`."""

    def __init__(self, order: StreamOrder, caller: socket.socket, tell: Callable[[], None]) -> None:
        """Carry to `caller`; `tell` is called when so much has passed that it must be told at once."""
        self._order = order
        self._tell = tell
        self._caller = CallerEnd(caller, lambda: self.hold("caller"), lambda: self.go_on("caller"))
        self._giver: Giver | None = None
        self._holders: set[str] = set()
        self._offsets_ms, self._sizes = array.array("d"), array.array("I")
        self._chunks: list[bytes] = []
        self._untold_bytes, self._left_bytes = 0, order.kept_bytes

    async def run(self, engine: socket.socket) -> Outcome:
        """Carry what comes by `engine` to its end, and let go of both connections, which the daemon has too."""
        connection = ClientConnection(IdleConnections(None), self._order.options)
        answer = connection.go_on_with(self._order.raw)
        loop = asyncio.get_running_loop()
        is_unix = engine.family == socket.AF_UNIX
        try:
            transport, _ = await (loop.create_unix_connection if is_unix else loop.create_connection)(
                lambda: connection, sock=engine
            )
            try:
                await self._carried(answer)
                outcome = Outcome(is_complete=True, may_keep_alive=answer.may_keep_alive)
            except (ConnectionError, DmrcError) as error:
                outcome = Outcome(error=error)
            finally:
                transport.abort()
            await self._caller.drained()
        except asyncio.CancelledError:  # the daemon has stopped it
            return Outcome(is_cut=self._caller.is_cut)
        except Exception as error:  # noqa: BLE001 the border: a bug of ours ends one stream
            return Outcome(bug=where(error))
        finally:
            self._caller.close()
        return outcome

    async def _carried(self, answer: HttpAnswer) -> None:
        give: Give = answer.into
        for transform in self._order.transforms:
            give = partial(give_through, transform, give)
        await give(self)

    def begin(self, source: Giver) -> None:
        """Know who gives."""
        self._giver = source

    def take(self, chunk: bytes) -> None:
        """Pass a chunk on, and note it."""
        self._offsets_ms.append((time.perf_counter() - self._order.began_at) * 1000)
        self._sizes.append(len(chunk))
        self._caller.write(chunk)
        if self._left_bytes <= 0:
            return
        self._left_bytes -= len(chunk)
        self._chunks.append(chunk)
        self._untold_bytes += len(chunk)
        if self._untold_bytes > _LONGEST_UNTOLD_BYTES:
            self._tell()

    def told(self) -> Passed | None:
        """Return what has passed since the last time; None: nothing."""
        if not self._sizes:
            return None
        passed = Passed(self._offsets_ms, self._sizes, b"".join(self._chunks))
        self._offsets_ms, self._sizes = array.array("d"), array.array("I")
        self._chunks, self._untold_bytes = [], 0
        return passed

    def hold(self, who: str) -> None:
        """Read no more of the engine until `who` lets it go on."""
        if not self._holders and self._giver is not None:
            self._giver.pause()
        self._holders.add(who)

    def go_on(self, who: str) -> None:
        """Read on, if nobody else holds it."""
        self._holders.discard(who)
        if not self._holders and self._giver is not None:
            self._giver.resume()
