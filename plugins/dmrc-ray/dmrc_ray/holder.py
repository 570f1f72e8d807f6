"""By which name a cluster knows a state directory of dmrc."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from dmrc.files import replace_file


def holder_name(directory: Path) -> str:
    """Return the name that is kept in a directory; the first time it is made.

    It is random: cloned machines have the same names and paths, and one that leaves would take the other's application
    along. That of the machine stands behind it, for the directory may have been cloned too.
    """
    kept = directory / "holder"
    if not kept.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(kept, secrets.token_hex(8).encode(), 0o600)
    return f"{kept.read_text()}@{socket.gethostname()}"
