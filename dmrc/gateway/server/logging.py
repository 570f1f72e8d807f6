"""Where the daemon's log goes, and in which form."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal, TextIO

_LOG_BYTES = 5 << 20
_LOG_FILES = 3


def configure(path: Path | None, form: Literal["text", "json"]) -> None:
    """Send the log of this process to a rotated file, or to stderr where `path` is None."""
    handler: logging.Handler = logging.StreamHandler()
    if path is not None:
        handler = _RotatedFile(path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES)
    _leave_out_what_no_form_tells()
    handler.setFormatter(_JsonLines() if form == "json" else _TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it tells of processes where each listener starts and ends


def mask_with(mask: Callable[[str], str]) -> None:
    """Put every line of this process's log through `mask` from now on: tracebacks and those of other packages.

    Where it runs in the background, what plugins and libraries print lands in the log as well.
    """
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Masked(handler.formatter or logging.Formatter(), mask))
    sys.stdout, sys.stderr = _MaskedLines(sys.stdout, mask), _MaskedLines(sys.stderr, mask)


def _leave_out_what_no_form_tells() -> None:
    """Note of a record no file, line, thread or process: to find them is a fifth of what a line costs.

    Source: https://docs.python.org/3/howto/logging.html#optimization
    """
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class _RotatedFile(logging.handlers.RotatingFileHandler):
    """A log that is rotated when it has reached its size; Python's own makes each line twice to see whether it fits."""

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        del record
        return self.stream is not None and self.stream.tell() >= self.maxBytes


class _TextLines(logging.Formatter):
    """A line with its time, whose seconds are written once for all that have them."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        del datefmt
        return f"{_second(int(record.created))},{int(record.msecs):03d}"


@lru_cache(maxsize=8)
def _second(unix_seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_seconds))


class _MaskedLines(io.TextIOBase):
    """What is printed, line by line, without secrets."""

    def __init__(self, inner: TextIO, mask: Callable[[str], str]) -> None:
        super().__init__()
        self._inner = inner
        self._mask = mask
        self._lines = threading.local()

    def write(self, text: str) -> int:
        # Of a line that several threads print at once, each has its own part.
        *lines, self._lines.rest = (getattr(self._lines, "rest", "") + text).split("\n")
        if lines:
            self._inner.write(self._mask("\n".join(lines)) + "\n")
            self._inner.flush()
        return len(text)

    def fileno(self) -> int:
        return self._inner.fileno()

    def isatty(self) -> bool:
        return self._inner.isatty()


class _Masked(logging.Formatter):
    """What another one makes of a record, without secrets."""

    def __init__(self, inner: logging.Formatter, mask: Callable[[str], str]) -> None:
        super().__init__()
        self._inner = inner
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        return self._mask(self._inner.format(record))


class _JsonLines(logging.Formatter):
    """A JSON object per line: time (RFC 3339, UTC), level, logger, message, and the fields of an event."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "event", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
