"""The connections that rest between two requests."""

from __future__ import annotations

import asyncio
from typing import Generic, Protocol, TypeVar


class _Connection(Protocol):
    def abort(self) -> None:
        """End it at once."""


_T = TypeVar("_T", bound=_Connection)


class IdleConnections(Generic[_T]):
    """Keeps connections until they are taken, end, or were idle for too long."""

    def __init__(self, rest_seconds: float | None) -> None:
        """Keep each for so long; None is until it ends."""
        self._rest_seconds = rest_seconds
        self._idle: dict[_T, asyncio.TimerHandle | None] = {}
        self._is_closed = False

    def take(self) -> _T | None:
        """Return the one that came last."""
        if not self._idle:
            return None
        connection, timer = self._idle.popitem()
        if timer is not None:
            timer.cancel()
        return connection

    def keep(self, connection: _T) -> None:
        """Take one on which an answer was complete."""
        if self._is_closed:
            connection.abort()
        elif self._rest_seconds is None:
            self._idle[connection] = None
        else:
            self._idle[connection] = asyncio.get_running_loop().call_later(self._rest_seconds, connection.abort)

    def forget(self, connection: _T) -> None:
        """Take note that a connection has ended, which may have been resting."""
        if (timer := self._idle.pop(connection, None)) is not None:
            timer.cancel()

    def close(self) -> None:
        """End those that rest, and each that would come to rest."""
        self._is_closed = True
        while (connection := self.take()) is not None:
            connection.abort()
