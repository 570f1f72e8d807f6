"""What the record lost, and what the log says of it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

logger = logging.getLogger(__name__)

_REPORT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RecorderCounts:
    """What became of the exchanges since the recorder was made."""

    recorded: int
    """Written to the database."""
    dropped: int
    """Lost: too many waited, or the recorder was closed before it could write."""
    refused: int
    """Not written because a filter said so or failed."""
    waiting: int
    """Not yet written."""


class Losses:
    """Tells the log of exchanges that were lost, and of what keeps others from being written."""

    def __init__(self) -> None:
        """Nothing was lost yet."""
        self.trouble: str | None = None
        """Why nothing can be written, or was; None: nothing is known to be wrong."""
        self._reported = 0
        self._next = 0.0

    def report(self, dropped: int, waiting: int, *, last: bool) -> None:
        """Log it, at most once a minute, and at the `last`; `dropped` are all that were lost, `waiting` may be yet."""
        lost = dropped - self._reported
        if not lost and not waiting:
            # Whatever it was, it is over and cost nothing.
            self.trouble = None
        if not (lost or self.trouble) or (time.monotonic() < self._next and not last):
            return
        self._next = time.monotonic() + _REPORT_SECONDS
        self._reported += lost
        reason, self.trouble = self.trouble or "more came than could be written", None
        logger.warning("requests not recorded: %d lost, %d wait: %s", lost, waiting, reason)
