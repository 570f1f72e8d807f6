"""What the gateway does to the store: pulls, pushes, imports, exports, and changes of names, which wait for a lock.

Each has a thread of its own, and is cancelled when the daemon ends.

Python's shared pool has as many threads as the machine has cores and four: a few transfers would keep everybody else
waiting who needs one, and the end of the daemon would wait for the last of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from dmrc.background import begin
from dmrc.dialects.table import dialect_at
from dmrc.errors import BusyError, CancelledError, DmrcError, RegistryAuthError, RegistryError
from dmrc.gateway.routes.management import Events, Work
from dmrc.gateway.server.error_responses import error_response
from dmrc.threads import start_thread

_log = logging.getLogger(__name__)

_MOST = 64
_END_SECONDS = 3.0
"""A thread that waits for bytes hears of nothing; the other ends of the daemon fit into five seconds with this."""
_PIECES_AHEAD = 1
_LOOK_SECONDS = 0.02

_T = TypeVar("_T")


class Transfers:
    """Those that run. For one event loop."""

    def __init__(self) -> None:
        self._running: dict[Future[Any], threading.Event] = {}
        self._is_ending = asyncio.Event()
        self._ended_at = 0.0

    async def run(self, work: Callable[[Callable[[], bool]], _T], request: Request | None = None) -> _T:
        """Run `work`, which is told whether it is cancelled, and return what it returns.

        It is cancelled with the caller's task, when the daemon ends, and, where the request is given, of which the body
        is read already, when the caller hangs up. Nobody waits then for a thread that does not hear of it.

        Raises:
            BusyError: The daemon is stopping, or too many run.
            DmrcError: What `work` raises.
        """
        cancelled = threading.Event()
        future: asyncio.Future[Any] = asyncio.wrap_future(self._begin(lambda: work(cancelled.is_set), cancelled))
        others: list[asyncio.Future[Any]] = [begin(self._is_ending.wait(), "the wait for the end")]
        if request is not None:
            others.append(begin(_hung_up(request), "the watch for a caller who hangs up"))
        try:
            await asyncio.wait({future, *others}, return_when=asyncio.FIRST_COMPLETED)
            if self._is_ending.is_set() and (not future.done() or future.exception() is not None):
                raise _stopping()
            if not future.done():
                raise CancelledError("the caller has gone")
            return cast(_T, future.result())
        finally:
            cancelled.set()
            for other in others:
                other.cancel()
            future.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody is left to hear of it

    async def pieces(self, read: Callable[[], Generator[bytes]]) -> AsyncGenerator[bytes]:
        """Yield what a generator reads in a thread, which is one piece ahead; it is closed when this one is.

        Raises:
            BusyError: The daemon is stopping, or too many run.
            DmrcError: What the generator raises.
        """
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[bytes | None]()
        room, nobody_reads = threading.Semaphore(_PIECES_AHEAD), threading.Event()

        def work(cancelled: Callable[[], bool]) -> None:
            with contextlib.closing(read()) as pieces:
                for piece in pieces:
                    room.acquire()
                    if cancelled() or nobody_reads.is_set():
                        return
                    loop.call_soon_threadsafe(queue.put_nowait, piece)

        task = begin(self.run(work), "an export", expected=Exception)
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (piece := await queue.get()) is not None:
                room.release()
                yield piece
            await task
        finally:
            task.cancel()
            nobody_reads.set()
            room.release()

    async def streamed(
        self, events: Events, work: Work, request: Request, media_type: str = "application/json"
    ) -> Response:
        """Run the work, and answer with its lines; what fails before the first one is a plain error.

        Docker Model Runner answers a login that is missing with 401.
        """
        loop, lines = asyncio.get_running_loop(), asyncio.Queue[bytes | DmrcError | None]()

        def tell(line: bytes | DmrcError | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody reads
                loop.call_soon_threadsafe(lines.put_nowait, line)

        async def transfer() -> None:
            try:
                said = await self.run(lambda cancelled: work(lambda event: tell(events.progress(event)), cancelled))
                lines.put_nowait(events.success(said))
            except DmrcError as error:
                lines.put_nowait(error)
            except Exception:  # noqa: BLE001 the border: a bug of ours is an answer, and a traceback in the log
                _log.exception("a transfer failed")
                lines.put_nowait(DmrcError("dmrc made a mistake", remedy="See: dmrc logs"))
            finally:
                lines.put_nowait(None)

        task = begin(transfer(), "a transfer")
        first = await lines.get()
        if isinstance(first, DmrcError):
            status = 401 if isinstance(first, RegistryAuthError) else None
            is_dmr = request.url.path.startswith("/models/")
            if is_dmr and status is None and isinstance(first, RegistryError) and first.http_status == 502:
                status = 500  # its client repeats a 502 four times, and a registry that is away stays away
            return error_response(first, dialect_at(request.url.path), status)

        async def body() -> AsyncIterator[bytes]:
            line: bytes | DmrcError | None = first
            while line is not None:
                yield events.error(str(line)) if isinstance(line, DmrcError) else line
                line = await lines.get()

        return _Lines(body(), task, media_type)

    def end(self) -> None:
        """Cancel all; those who wait for them are told."""
        if not self._is_ending.is_set():
            self._ended_at = time.monotonic()
        self._is_ending.set()
        for cancelled in self._running.values():
            cancelled.set()

    async def close(self) -> None:
        """Wait until they have ended, until 3 s after `end` at most: what came of a pull is kept in any case."""
        self.end()
        deadline = self._ended_at + _END_SECONDS
        while self._running and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_SECONDS)
        if self._running:
            _log.warning("%d transfers did not end in time, and end with the daemon", len(self._running))

    def _begin(self, work: Callable[[], _T], cancelled: threading.Event) -> Future[_T]:
        if self._is_ending.is_set():
            raise _stopping()
        if len(self._running) >= _MOST:
            raise BusyError(f"{_MOST} pulls, pushes and other changes of the store run already", retry_after_seconds=30)
        future, loop = start_thread(work, "transfer"), asyncio.get_running_loop()
        self._running[future] = cancelled

        def ended(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended before it
                loop.call_soon_threadsafe(self._running.pop, future, None)

        future.add_done_callback(ended)
        return future


class _Lines(StreamingResponse):
    """The lines of a transfer, which ends with them: also when nobody reads the first one."""

    def __init__(self, lines: AsyncIterator[bytes], task: asyncio.Task[None], media_type: str) -> None:
        super().__init__(lines, media_type=media_type)
        self._task = task

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._task.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _stopping() -> BusyError:
    return BusyError("the daemon is stopping", retry_after_seconds=5, remedy="Try again when it runs: dmrc status")
