"""How many connections a process uses for blobs at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MOST_CONNECTIONS = 5
"""Enough for a line where each connection is slow. With more, a kill -9 would repeat more, and threads wait longer."""

_POLL_SECONDS = 0.1


class Connections:
    """Lets a few through at a time, in the order in which they came, so that no small blob waits for a large one."""

    def __init__(self, most: int = MOST_CONNECTIONS) -> None:
        """Let `most` through."""
        self._free = most
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def one(self, check: Callable[[], None]) -> Iterator[None]:
        """Wait for a turn and keep it within the block; `check` is called often, and raises to stop waiting."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while not self._free or self._waiting[0] is not ticket:
                    check()
                    self._changed.wait(_POLL_SECONDS)
                self._free -= 1
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()
