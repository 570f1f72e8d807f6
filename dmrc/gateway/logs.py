"""Where the daemon's log goes."""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path

_LOG_BYTES = 5 << 20
_LOG_FILES = 3


def configure(path: Path | None) -> None:
    """Send the log of this process to a rotated file, or to stderr where `path` is None."""
    handler: logging.Handler = logging.StreamHandler()
    if path is not None:
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
