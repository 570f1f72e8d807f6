"""Threads and who waits for them: a read that blocks must not delay Ctrl+C."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

LOOK_SECONDS = 0.1
"""How long the main thread waits at once.

Ctrl+C ends a wait, but not one that begins in the moment in which it comes: while Python passes its lock on to another
thread, for milliseconds, nobody looks for signals.
"""

_T = TypeVar("_T")


def start_thread(work: Callable[[], _T], name: str) -> Future[_T]:
    """Run work in a daemon thread. That of a ThreadPoolExecutor would be waited for when the process ends."""
    future: Future[_T] = Future()
    future.set_running_or_notify_cancel()  # the thread does not hear of who waits no longer

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 who waits for the future gets it
            future.set_exception(error)

    threading.Thread(target=run, name=f"dmrc-{name}", daemon=True).start()
    return future


def result_of(future: Future[_T]) -> _T:
    """Return what a thread comes to, however long it takes; Ctrl+C ends the wait. Raises what the thread raised."""
    while not future.done():
        wait([future], timeout=LOOK_SECONDS)
    return future.result()
