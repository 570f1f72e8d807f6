"""The lines of a log that grows, over its rotations."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path


class LogTail:
    """A log that is read from its beginning on; `read` gives what came since the last time."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            FileNotFoundError: There is none.
        """
        self._path = path
        self._file = path.open(errors="replace")

    def read(self) -> Iterator[str]:
        """Yield the new lines, the last one perhaps in parts."""
        was_rotated = self._identity() not in (None, os.fstat(self._file.fileno()).st_ino)
        # Read after that look: what came into the old file before the rotation is not lost.
        yield from self._file
        if was_rotated:
            self._file.close()
            self._file = self._path.open(errors="replace")
            yield from self._file

    def close(self) -> None:
        self._file.close()

    def _identity(self) -> int | None:
        """Return the number of the file at the path; None where there is none, as in the middle of a rotation."""
        try:
            return self._path.stat().st_ino
        except FileNotFoundError:
            return None


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last lines of a log.

    Raises:
        FileNotFoundError: There is none.
    """
    with closing(LogTail(path)) as tail:
        return list(deque(tail.read(), maxlen=count))
