"""The queue of requests that wait for one model with one configuration."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dmrc.errors import BusyError, DmrcError
from dmrc.scheduler.target import Target

R = TypeVar("R")
"""The runner that serves; a queue does nothing with it but to hand it over."""

_NEWEST_SHARE = 0.2
_LONGEST_RETRY_SECONDS = 60


@dataclass(slots=True, eq=False)
class QueueEntry(Generic[R]):
    """One request in a queue."""

    keep_alive_seconds: float | None
    """How long the runner stays after it; None is as the target says."""
    since: float = field(default_factory=time.monotonic)
    """When it came, on the monotonic clock."""
    granted: asyncio.Future[R] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Gets the runner that has a slot for it."""


class RequestQueue(Generic[R]):
    """Who waits for a target, in the order in which they came. It outlives runners: a new one goes on with it."""

    def __init__(self, target: Target, limit: int) -> None:
        """Make an empty queue for at most `limit` requests."""
        self.target = target
        self.loads = 0
        """Callers who want the runner to be ready, and no slot of it."""
        self._limit = limit
        self._entries: deque[QueueEntry[R]] = deque()
        self._mean_seconds: float | None = None

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._entries)

    @property
    def is_wanted(self) -> bool:
        """Return whether anybody waits for a runner."""
        return bool(self._entries) or self.loads > 0

    def join(self, keep_alive_seconds: float | None, parallel: int) -> QueueEntry[R]:
        """Add a request at the end; `parallel` is how many are served at the same time.

        Raises:
            BusyError: Too many wait. It says when to try again, by how long the last requests took.
        """
        if len(self._entries) >= self._limit:
            seconds = math.ceil((self._mean_seconds or 1.0) * len(self._entries) / max(parallel, 1))
            raise BusyError(
                f"{len(self._entries)} requests wait for model '{self.target.reference}' already",
                retry_after_seconds=max(1, min(seconds, _LONGEST_RETRY_SECONDS)),
                remedy="Try again later, or allow more at once with x-dmrc: {parallel: N}",
            )
        entry: QueueEntry[R] = QueueEntry(keep_alive_seconds)
        self._entries.append(entry)
        return entry

    def next(self) -> QueueEntry[R] | None:
        """Take the first request out of the queue; one whose caller has gone is passed over."""
        while self._entries:
            entry = self._entries.popleft()
            if not entry.granted.done():
                return entry
        return None

    def leave(self, entry: QueueEntry[R]) -> None:
        """Remove a request, wherever it is in the queue."""
        if entry in self._entries:
            self._entries.remove(entry)

    def fail(self, error: DmrcError) -> None:
        """Tell everyone who waits that it will not be."""
        while (entry := self.next()) is not None:
            entry.granted.set_exception(error)

    def took(self, seconds: float) -> None:
        """Learn how long one request held its slot."""
        before = seconds if self._mean_seconds is None else self._mean_seconds
        self._mean_seconds = before + _NEWEST_SHARE * (seconds - before)
