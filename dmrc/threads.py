"""Threads that do not keep the process from ending: a read that blocks must not delay Ctrl+C."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

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
