"""What an engine child prints, on its way to its log: no secret, no word of a request, and never too much of it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from dmrc.errors import where

_log = logging.getLogger(__name__)

LOG_BYTES = 5 << 20
"""How large a log may grow before it is begun anew; one old one of that size is kept."""

LEFT_OUT = "…"
"""Ends a line of which the rest may quote a request."""

_TAIL_LINES = 200
_LONGEST_LINE = 8192
_READ_BYTES = 64 << 10

# How vLLM begins a line: "(EngineCore pid=12) INFO 11-27 17:56:02 [core.py:133] Initializing …".
# Source: https://github.com/vllm-project/vllm/blob/main/vllm/logging_utils/formatter.py
_VLLM = r"(?:\(\w[\w-]* pid=\d+\) )?(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d"

# How a line begins that an engine prints of its own state: "slot print_timing: id 0 | task 3 | …" or, out of its
# libraries, "llama_decode: …". What a request brought along, a grammar or a message, begins in some other way.
# Source: SLT_INF, SRV_INF and QUE_INF in llama.cpp's tools/server/server-common.h.
_STATE = re.compile(
    r"(?:[\d.]+ )?(?:[DIWE] )?(?:(?:slot|srv|que|res|cmn|main)\s+\S+?|[a-z]\w*_\w*(?:\(\))?|main)\s*:"
    r"|\S+\.(?:c|cc|cpp|cu|cuh|h|hpp|m|metal):\d+:"  # GGML_ASSERT and its like
    r"|terminate called|(?:CUDA|ROCm|Vulkan|Metal) error:|Traceback "
    r"|(?:ERROR|WARNING|CRITICAL):\s+"  # Python's servers
    rf"|{_VLLM} \[[\w./-]+:\d+\] "
)
# What it says every ten seconds: throughput, requests, how full its caches are; all of that are numbers.
# Source: https://github.com/vllm-project/vllm/blob/main/vllm/v1/metrics/loggers.py
_STATISTICS = re.compile(rf"{_VLLM} \[loggers\.py:\d+\] Engine \d+: [\w \t.,:%/()-]*$")
# Of a line about the state, what follows may be somebody's words: behind a colon, in quotes or brackets, as a value.
_QUOTING = re.compile(r":(?!\d| n_\w+ = )|[\"'`{\[]|=\s*+(?!-?[\d(]|true\b|false\b)")
_PLACE = re.compile(
    r"#\d+ +0x[0-9a-f]+ in [\w:~]+|\S+\.so[\w.]*\([\w+]*\)"
    r'|\s+File "[^"\n]*", line \d+, in \w+$|[A-Z]\w*(?:Error|Exception):'
)
# Worth more than all else where an engine fails, and no more than these words are kept.
_MEMORY = re.compile(r"out of memory|failed to allocate|bad_alloc", re.IGNORECASE)


def without_requests(line: str) -> str | None:
    """Return what of an engine's line can be no word of a request; None where that is nothing.

    llama.cpp quotes the prompt, a grammar, or a schema in its errors: `srv operator(): got exception: {"error": …`.
    """
    if place := _PLACE.match(line):
        return place[0]
    if _STATISTICS.match(line):
        return line
    state = _STATE.match(line)
    if state is None:
        return None
    quoting = _QUOTING.search(line, state.end())
    if quoting is None:
        return line
    memory = _MEMORY.search(line, quoting.start())
    return f"{line[: quoting.start()].rstrip()} {LEFT_OUT}{' ' + memory[0] if memory else ''}"


class ChildLog:
    """The log of one child, which prints into a pipe; a thread of its own writes it. A full disk only costs lines."""

    def __init__(self, path: Path, mask: Callable[[str], str] = str, noted: re.Pattern[str] | None = None) -> None:
        """Append to the file at `path`; `mask` takes secrets out of a line, and lines with `noted` are kept, too."""
        self.notes: list[str] = []
        """Lines that were asked for, of those that came before it `serves`: later ones may quote a request."""
        self._noted = noted
        self._path = path
        self._mask = mask
        self._file: BinaryIO | None = None
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._left_out = 0
        self._is_serving = False
        self._thread: threading.Thread | None = None
        self.read_bytes = 0
        """How much the child has printed so far."""

    def open(self) -> int:
        """Return the descriptor for the child to print into; close it when the child has it."""
        reading, writing = os.pipe()
        self._thread = threading.Thread(target=self._follow, args=(reading,), name="dmrc-child-log", daemon=True)
        self._thread.start()
        return writing

    def serves(self) -> None:
        """Take the lines from now on for words about requests: see `without_requests`."""
        self._is_serving = True

    def tail(self) -> str:
        """Return the last lines, as they were written."""
        return "".join(list(self._tail))

    def wait_end(self, timeout: float) -> None:
        """Block until all that the child printed is written, for `timeout` seconds at most."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _follow(self, descriptor: int) -> None:
        left = b""
        with open(descriptor, "rb", buffering=0) as pipe:
            while piece := pipe.read(_READ_BYTES):
                self.read_bytes += len(piece)
                *lines, left = (left + piece).split(b"\n")
                self._write(lines)
                left = left[:_LONGEST_LINE]
        self._write([left] if left else [])
        self._write_counted([])
        if self._file is not None:
            self._file.close()

    def _write(self, lines: list[bytes]) -> None:
        kept = []
        for raw in lines:
            line = self._told(raw[:_LONGEST_LINE].decode(errors="replace").rstrip("\r"))
            if line is None:
                self._left_out += 1
            else:
                kept.append(line)
        if kept:
            self._write_counted(kept)

    def _told(self, line: str) -> str | None:
        """Return what of a line may be written; None for nothing, also where our own reading of it fails."""
        try:
            kept = without_requests(line) if self._is_serving and line else line
            if self._noted is not None and not self._is_serving and self._noted.search(line):
                self.notes.append(line)
            return None if kept is None else self._mask(kept)
        except Exception as error:  # noqa: BLE001 nobody else empties the pipe, and a child that cannot print stands still
            _log.error("a line of an engine is left out: %s", where(error))
            return None

    def _write_counted(self, lines: list[str]) -> None:
        """Write lines, and before them how many were left out since the last ones."""
        if self._left_out:
            count, self._left_out = self._left_out, 0
            lines = [f"dmrc: left out {count} {'line' if count == 1 else 'lines'} that may quote a request", *lines]
        text = "".join(f"{line}\n" for line in lines)
        if not text:
            return
        self._tail.extend(text.splitlines(keepends=True))
        # A full disk, or a directory that is gone, must not stop the child, which would wait for its pipe.
        with contextlib.suppress(OSError):
            self._opened().write(text.encode())

    def _opened(self) -> BinaryIO:
        """Return the file, begun anew where it has grown large."""
        if self._file is not None and self._file.tell() > LOG_BYTES:
            self._file.close()
            self._file = None
        if self._file is None:
            if self._path.exists() and self._path.stat().st_size > LOG_BYTES:
                self._path.replace(self._path.with_suffix(".old.log"))
            self._file = self._path.open("ab", buffering=0)
        return self._file
