"""Trying again what may succeed later, a bounded number of times."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TypeVar

from dmrc.errors import RegistryError
from dmrc.sources.source import Transfer

_log = logging.getLogger(__name__)

_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 60
_T = TypeVar("_T")


class TransientError(RegistryError):
    """A failure that may pass: a broken connection, 429, 5xx."""

    def __init__(self, message: str, *, retry_after_seconds: int = 0) -> None:
        """Say what failed, and when the server wants to be asked again; 0 when it does not say."""
        super().__init__(message, remedy="Check the network and the registry, then run the command again")
        self.pause_seconds = retry_after_seconds


def retry(
    action: Callable[[], _T],
    transfer: Transfer,
    *,
    attempts: int = 3,
    progressed: Callable[[], bool] = lambda: False,
) -> _T:
    """Run `action` until it succeeds, at most so many times in a row without progress.

    Raises:
        RegistryError: It failed each time, or in a way that does not pass.
        CancelledError: The transfer was cancelled.
    """
    failures = 0
    while True:
        transfer.check()
        try:
            return action()
        except TransientError as error:
            transfer.check()
            failures = 1 if progressed() else failures + 1
            _log.info("%s; attempt %d of %d", error.message, failures, attempts)
            if failures >= attempts or error.pause_seconds > _LONGEST_DELAY_SECONDS:
                raise
            delay = _FIRST_DELAY_SECONDS * 2 ** (failures - 1) * random.uniform(0.5, 1.5)  # noqa: S311
            transfer.pause(max(delay, error.pause_seconds))
