"""Requests as they start and complete, for those who watch: `dmrc requests --follow`, `/engines/requests`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from dmrc.capture.rows import ExchangeTexts
from dmrc.exchange import Exchange

_LONGEST_QUEUE = 256


@dataclass(frozen=True, slots=True)
class Started:
    """A request that was understood, and is on its way to its runner."""

    id: str
    """Id of its exchange."""
    received_at: float
    """Unix seconds."""
    project: str | None
    """Compose project of the caller's key."""
    service: str | None
    """Compose service of the caller's key."""
    client_address: str | None
    """IP address of the caller."""
    operation: str
    """`chat`, `embedding`, …"""
    model: str | None
    """`model` as the caller wrote it."""
    stream: bool
    """Whether a stream was asked for."""
    prompt: str = ""
    """The first words that were asked, without secrets; "" where they may not be on record."""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Started:
        """Read what the daemon tells of it, in this version or another; fields that are not known are left out."""
        return cls(**{one.name: document[one.name] for one in fields(cls) if one.name in document})


@dataclass(frozen=True, slots=True)
class Completed:
    """A request that completed."""

    exchange: Exchange
    """As it was recorded."""
    excerpt: str
    """The first words that were asked; "" where they are not recorded."""


@dataclass(frozen=True, slots=True)
class MissedEvents:
    """Stands in a watcher's queue for events that it was too slow for."""

    count: int
    """How many."""


LiveEvent = Started | Completed | MissedEvents
"""What a watcher sees."""


class Subscriber:
    """One who watches. Belongs to the event loop."""

    def __init__(self) -> None:
        """Have seen nothing."""
        self._events: deque[LiveEvent] = deque()
        self._missed = 0
        self._wake = asyncio.Event()

    def push(self, event: LiveEvent) -> None:
        """Queue an event; in a full queue it is counted instead."""
        if len(self._events) >= _LONGEST_QUEUE:
            self._missed += 1
        else:
            self._events.append(event)
        self._wake.set()

    def wake(self) -> None:
        """End a wait for the next event."""
        self._wake.set()

    async def next(self, timeout: float) -> LiveEvent | None:
        """Return the next event, or None when there is none for `timeout` seconds, or `wake` was called."""
        if not self._events:
            if self._missed:
                missed, self._missed = self._missed, 0
                return MissedEvents(missed)
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), timeout)
            except TimeoutError:
                return None
        return self._events.popleft() if self._events else None


class LiveEvents:
    """Hands events to all watchers. Where nobody watches, an event costs the look at an empty set."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to the daemon's event loop."""
        self._loop = loop
        self._subscribers: set[Subscriber] = set()
        self.is_closed = False

    @property
    def is_watched(self) -> bool:
        """Return whether anybody watches, and an event is worth its making."""
        return bool(self._subscribers)

    @contextmanager
    def watching(self) -> Iterator[Subscriber]:
        """Watch, for as long as the context lasts."""
        subscriber = Subscriber()
        self._subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)

    def close(self) -> None:
        """Wake all watchers, so that they see that there is nothing more to come."""
        self.is_closed = True
        for subscriber in self._subscribers:
            subscriber.wake()

    def started(self, event: Started) -> None:
        """Tell of a request that started; on the event loop."""
        for subscriber in self._subscribers:
            subscriber.push(event)

    def completed(self, exchange: Exchange, words: ExchangeTexts) -> None:
        """Tell of a request that completed; from the recorder's thread."""
        if self._subscribers:
            self._loop.call_soon_threadsafe(self._push_all, Completed(exchange, words.excerpt))

    def _push_all(self, event: Completed) -> None:
        for subscriber in self._subscribers:
            subscriber.push(event)
