"""The end of a log, and then what is written to it, for who asks again and again."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MOST_BYTES = 256 << 10
_OFFSET = re.compile(r"[0-9]{1,18}")


def log_part(path: Path, after: str, lines: int) -> tuple[str, str]:
    """Return what a log has after a place, and the place behind it; without a place, or after a rotation, its end.

    A place is `INODE:OFFSET`. Of more than 256 KiB the last ones are returned.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            number, _, offset = after.partition(":")
            place = int(offset) if _OFFSET.fullmatch(offset) else status.st_size + 1
            is_known = number == str(status.st_ino) and place <= status.st_size
            start = max(place if is_known else 0, status.st_size - _MOST_BYTES)
            file.seek(start)
            data = file.read(status.st_size - start)
    except FileNotFoundError:
        return "", ""
    if not is_known:
        data = b"".join(data.splitlines(keepends=True)[-lines:])
    return data.decode(errors="replace"), f"{status.st_ino}:{status.st_size}"
