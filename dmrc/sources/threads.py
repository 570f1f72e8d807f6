"""Several things at a time, each in a thread that does not keep the process from ending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from typing import TypeVar

from dmrc.threads import start_thread

_POLL_SECONDS = 0.1
_END_SECONDS = 0.3
_T = TypeVar("_T")


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
                running[start_thread(action, "transfer")] = number
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
