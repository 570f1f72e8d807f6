"""Notify hooks: each plugin has a thread and a bounded queue of its own, so a slow one delays nobody else."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress

from dmrc.errors import PluginError
from dmrc.exchange import Exchange
from dmrc.hooks.plugin import Implementation, Plugin

QUEUE_LENGTH = 1000
"""Notifications that may wait for one plugin; the next ones are dropped and counted."""

QUEUE_BYTES = 64 << 20
"""Bytes of bodies that may wait for one plugin; one exchange alone may be longer."""

Arguments = Mapping[str, object]
_Notice = tuple[Implementation, Arguments, int]


class Notifications:
    """Tells plugins what happened. `tell` may be called from any thread, never blocks and never raises."""

    def __init__(self) -> None:
        """Start no thread before there is something to tell."""
        self._lock = threading.Lock()
        self._queues: dict[Plugin, _Queue] = {}

    def tell(self, implementations: Iterable[Implementation], **arguments: object) -> None:
        """Queue one call of each of these implementations. A plugin is told in the order of these calls."""
        for implementation in implementations:
            with self._lock:
                queue = self._queues.get(implementation.plugin)
                if queue is None:
                    queue = self._queues[implementation.plugin] = _Queue(implementation.plugin)
            queue.put(implementation, arguments)

    def forget(self, plugin: Plugin) -> None:
        """Let the thread of a plugin that was unloaded end when it has told what waits."""
        with self._lock:
            queue = self._queues.pop(plugin, None)
        if queue is not None:
            queue.close()

    def settle(self, plugin: Plugin, timeout: float) -> bool:
        """Block until a plugin has heard all that it was told before (True), or `timeout` seconds have passed."""
        with self._lock:
            queue = self._queues.get(plugin)
        return queue is None or queue.settle(timeout)

    def close(self, timeout: float = 2.0) -> None:
        """Wait until everything was told, `timeout` seconds at most; what waits then is dropped and counted."""
        deadline = time.monotonic() + timeout
        with self._lock:
            queues = list(self._queues.values())
        for queue in queues:
            queue.close()
        for queue in queues:
            queue.give_up(deadline)


class _Queue:
    """The notifications of one plugin, and its thread: always the same, so that a plugin may keep a connection."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin
        self._changed = threading.Condition()
        self._waiting: deque[_Notice] = deque()
        self._taken: deque[_Notice] = deque()
        self._bytes = 0
        self._is_closed = self._is_telling = False
        self._thread = threading.Thread(target=self._run, name=f"dmrc-notifications-{plugin.name}", daemon=True)
        self._thread.start()

    def put(self, implementation: Implementation, arguments: Arguments) -> None:
        size = sum(_size(value) for value in arguments.values())
        with self._changed:
            full = len(self._waiting) + len(self._taken) >= QUEUE_LENGTH or (
                self._bytes > 0 and self._bytes + size > QUEUE_BYTES
            )
            if not full and not self._is_closed:
                self._waiting.append((implementation, arguments, size))
                self._bytes += size
                if len(self._waiting) == 1:
                    self._changed.notify_all()
                return
        self._plugin.count_dropped()

    def settle(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._taken or self._is_telling), timeout)

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def give_up(self, deadline: float) -> None:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            lost = len(self._waiting) + len(self._taken)
            self._waiting.clear()
            self._taken.clear()
        if lost:
            self._plugin.count_dropped(lost)

    def _run(self) -> None:
        while self._take():
            while (notice := self._next()) is not None:
                implementation, arguments, _ = notice
                with suppress(PluginError):  # counted and logged
                    implementation.attempt(arguments)

    def _take(self) -> bool:
        """Wait for notices, and take all that wait; return False when none will come any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            self._taken, self._waiting = self._waiting, deque()
            return bool(self._taken)

    def _next(self) -> _Notice | None:
        with self._changed:
            self._is_telling = bool(self._taken)
            if not self._taken:
                self._changed.notify_all()
                return None
            notice = self._taken.popleft()
            self._bytes -= notice[2]
            return notice


def _size(value: object) -> int:
    return len(value.request_body) + len(value.response_body) if isinstance(value, Exchange) else 0
