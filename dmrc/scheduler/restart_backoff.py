"""How long a runner that keeps dying, or does not start, is left alone before it may start again."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from dmrc.errors import BusyError

_PAUSES_SECONDS = (0, 1, 2, 5, 10, 30)
_RECENT_SECONDS = 60.0
_TOLD = 10


@dataclass(slots=True)
class _Record:
    """The unexpected ends of one runner that followed each other closely."""

    count: int = 0
    """How many."""
    last: float = 0.0
    """When the last one was, on the monotonic clock."""
    cause: str = ""
    """Why, as a sentence without a full stop."""


@dataclass(frozen=True, slots=True)
class UnexpectedEnd:
    """One end that nobody had asked for, as it is told later."""

    reference: str
    """The model."""
    cause: str
    """Why, as a sentence without a full stop."""
    at: float
    """Unix seconds."""


class RestartBackoff:
    """The ends of runners that nobody had asked for, starts that failed among them, by the runner's key."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self.latest: deque[UnexpectedEnd] = deque(maxlen=_TOLD)
        """The last ones, the newest last."""

    def answered(self, key: str) -> None:
        """Learn that a runner answered: those before no longer count."""
        self._records.pop(key, None)

    def note(self, key: str, cause: str, reference: str) -> None:
        """Count one more, and forget those of long ago."""
        now = time.monotonic()
        self.latest.append(UnexpectedEnd(reference, cause, time.time()))
        self._records = {
            known: record for known, record in self._records.items() if now - record.last < _RECENT_SECONDS
        }
        record = self._records.setdefault(key, _Record())
        record.count += 1
        record.last = now
        record.cause = cause

    def refuse_too_soon(self, key: str) -> None:
        """Refuse a start before the pause is over: none after the first end, half a minute at most.

        Raises:
            BusyError: It must wait; the error repeats the cause, and says how long.
        """
        record = self._records.get(key)
        if record is None:
            return
        pause = _PAUSES_SECONDS[min(record.count, len(_PAUSES_SECONDS)) - 1]
        left = record.last + pause - time.monotonic()
        if left > 0:
            raise BusyError(
                f"{record.cause} ({record.count} times in a row)",
                retry_after_seconds=int(left) + 1,
                remedy=f"It may start again in {int(left) + 1} s; see: dmrc logs",
            )
