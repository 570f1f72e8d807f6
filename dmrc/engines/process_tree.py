"""A child and the processes that it starts, which hold the model in its place."""

from __future__ import annotations

import time
from collections.abc import Sequence

import psutil

_LOOK_SECONDS = 1.0


class ProcessTree:
    """A process with its descendants, for which all of /proc is read once a second at most."""

    def __init__(self, leader: psutil.Process) -> None:
        """Look for the descendants of `leader`, which may end before they do."""
        self._leader = leader
        self._found = [leader]
        self._looked = 0.0

    def processes(self) -> Sequence[psutil.Process]:
        """Return those that were seen last; some may have ended."""
        if (now := time.monotonic()) - self._looked > _LOOK_SECONDS:
            self._looked = now
            try:
                self._found = [self._leader, *self._leader.children(recursive=True)]
            except psutil.Error:
                self._found = [self._leader]
        return self._found
