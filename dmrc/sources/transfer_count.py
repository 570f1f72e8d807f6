"""How far a transfer is, and how fast: only bytes of this run count for the rate."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from dmrc.sources.source import ProgressEvent

_WINDOW_SECONDS = 5.0
_SAMPLE_SECONDS = 0.1
_SHORTEST_SECONDS = 0.5
"""Of less time a rate would say more of a single packet than of the line."""


class TransferCount:
    """Counts the layers of one model that have to travel. Not for several threads at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Have heard of no layer."""
        self._clock = clock
        self.layers: dict[str, tuple[int, int]] = {}
        """Bytes done and size of each layer that has to travel."""
        self.came_bytes = 0
        """Bytes that came in this run; what was damaged and came once more counts twice."""
        self._seen: deque[tuple[float, int]] = deque()

    @property
    def done_bytes(self) -> int:
        """Return the bytes that are there, those of earlier attempts among them."""
        return sum(current for current, _ in self.layers.values())

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all layers that travel, as far as they are known."""
        return sum(size for _, size in self.layers.values())

    def take(self, event: ProgressEvent) -> None:
        """Take one event; one that is about no layer changes nothing."""
        if event.layer is None:
            return
        former = self.layers.get(event.layer, (0, 0))[0]
        if event.was_there or not event.size_bytes:
            self.layers.pop(event.layer, None)
        else:
            self.layers[event.layer] = (event.current_bytes, event.size_bytes)
            self.came_bytes += 0 if event.is_resumed else max(0, event.current_bytes - former)
        self._note()

    def rate(self) -> float | None:
        """Return the bytes a second of the last seconds; None until there is one."""
        self._note()
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        seconds = ended - began
        return max(0.0, (last - first) / seconds) if seconds >= _SHORTEST_SECONDS else None

    def _note(self) -> None:
        now = self._clock()
        if len(self._seen) > 1 and now - self._seen[-2][0] < _SAMPLE_SECONDS:
            self._seen.pop()
        self._seen.append((now, self.came_bytes))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _WINDOW_SECONDS:
            self._seen.popleft()
