"""What runs beside its owner: tasks, of which none is lost and what they raise is in the log, and threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from dmrc.threads import start_thread

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Expected = type[Exception] | tuple[type[Exception], ...]


def begin(work: Coroutine[Any, Any, _T], name: str, expected: _Expected = ()) -> asyncio.Task[_T]:
    """Begin a task that its owner keeps, for asyncio itself does not; `name` says in the log what it does.

    What it raises is a bug of ours and logged at once, but for what is `expected`: the owner hears of that.
    """
    task = asyncio.create_task(work)

    def report(done: asyncio.Task[_T]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None and not isinstance(error, expected):
            _log.error("%s failed", name, exc_info=error)

    task.add_done_callback(report)
    return task


@contextmanager
def beside(work: Coroutine[Any, Any, _T], name: str) -> Iterator[asyncio.Task[_T]]:
    """Run work beside a block, and cancel it when the block ends."""
    task = begin(work, name)
    try:
        yield task
    finally:
        task.cancel()


async def apart(work: Callable[[], _T], name: str) -> _T:
    """Run what may wait for seconds, for another program or a disk, in a thread of its own, and return what it returns.

    `asyncio.to_thread` is for what is short: its few threads are shared by all, and its end is waited for.
    """
    return await asyncio.wrap_future(start_thread(work, name))


class BackgroundTasks:
    """Tasks that have no other owner. For one event loop."""

    def __init__(self, name: str) -> None:
        """Say of what raises that `name` failed."""
        self._name = name
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Begin a task, and keep it until it is done."""
        task = begin(work, self._name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def running(self) -> set[asyncio.Task[Any]]:
        """Return those that are not done."""
        return set(self._tasks)

    async def close(self) -> None:
        """Cancel those that are not done, and wait for their end."""
        running = self.running()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
