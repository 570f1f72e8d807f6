"""Threads that do not keep the process from ending: a read that blocks must not delay Ctrl+C."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from typing import TypeVar

_POLL_SECONDS = 0.1
_END_SECONDS = 0.3
_T = TypeVar("_T")


def start(action: Callable[[], _T]) -> Future[_T]:
    """Run an action in a daemon thread. That of a ThreadPoolExecutor would be waited for when the process ends."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:  # noqa: BLE001 who waits for the future gets it
            future.set_exception(error)

    threading.Thread(target=run, name="dmrc-transfer", daemon=True).start()
    return future


def together(
    actions: Sequence[Callable[[], _T]], *, most: int, check: Callable[[], None], stop: Callable[[], None]
) -> list[_T]:
    """Run the actions, so many at a time, and return their results in order.

    `check` is called often. When it raises, or an action does, `stop` must make all actions end soon; they get a moment
    for that.
    """
    left = list(enumerate(actions))[::-1]
    running: dict[Future[_T], int] = {}
    results: dict[int, _T] = {}
    try:
        while left or running:
            while left and len(running) < most:
                number, action = left.pop()
                running[start(action)] = number
            done, _ = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            check()
            for future in done:
                results[running.pop(future)] = future.result()
    except BaseException:
        stop()
        with suppress(KeyboardInterrupt):
            wait(running, timeout=_END_SECONDS)
        raise
    return [results[number] for number in range(len(actions))]
