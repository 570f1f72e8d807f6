"""The process that reads, masks and writes the exchanges that a daemon sends it.

It is started as `python -m dmrc.capture.recorder_process`, and is the daemon's child. It takes everything from the
connection that is its standard input: what it is to keep, and secrets to mask, which are in no file and no argument.
Signals that end a daemon do not end it: it reads to the end of the connection, writes what it has, and ends.
"""

from __future__ import annotations

import contextlib
import gc
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.frames import FrameKind, FrameReader, RecorderFrame, changes, framed
from dmrc.capture.joining.evidence import Evidence, evidence_of
from dmrc.capture.masking import CaptureLimits
from dmrc.capture.preparing import recordable
from dmrc.capture.redaction import Redactor
from dmrc.capture.rows import ExchangeTexts, words_of
from dmrc.capture.writing import ReadExchange
from dmrc.errors import StoreError, where
from dmrc.exchange import Exchange

_RETRY_SECONDS = 1.0
_READ_BYTES = 256 << 10
# What a daemon that died left here is worth waiting for a lock, or for somebody who makes room on the disk.
_LAST_SECONDS = 30.0
# What an exchange is read into is in no cycle; see `gateway.process`.
_OBJECTS_BETWEEN_COLLECTIONS = (20_000, 10, 10)


class _Pending(NamedTuple):
    number: int
    exchange: Exchange | None
    words: ExchangeTexts
    evidence: Evidence | None = None


class RecorderProcess:
    """Reads frames and writes what is in them, one after the other."""

    def __init__(self, channel: socket.socket) -> None:
        """Speak with the daemon through this connection."""
        self._channel = channel
        self._sending = threading.Lock()
        self._frames = FrameReader()
        self._database = ExchangeDatabase(Path())
        self._limits = CaptureLimits()
        self._redactors: dict[int, Redactor] = {}
        self._pending: deque[_Pending] = deque()
        self._told: list[list[Any]] = []
        self._failed: list[tuple[int, str]] = []
        self._last = self._next_write = 0.0
        self._is_last = False
        self._deadline = 0.0

    def run(self) -> None:
        """Serve until the connection ends, and all is written or its time is over."""
        self._send(framed(FrameKind.READY))
        while not (self._is_last and (not self._pending or time.monotonic() >= self._deadline)):
            for frame in self._received():
                self._take(frame)
            if self._told:
                told, self._told = self._told, []
                self._send(framed(FrameKind.TOLD, told))
            self._write()
        self._database.close()

    def _received(self) -> list[RecorderFrame]:
        """Wait for frames, or for the time to write again; return all that came."""
        if self._is_last:
            time.sleep(max(0.0, min(self._next_write, self._deadline) - time.monotonic()))
            return []
        wait = max(0.0, self._next_write - time.monotonic()) if self._pending else None
        frames: list[RecorderFrame] = []
        while len(frames) < self._limits.batch_exchanges and select.select([self._channel], [], [], wait)[0]:
            try:
                data = self._channel.recv(_READ_BYTES)
            except ConnectionResetError:  # the daemon died, and had not read what it was told
                data = b""
            if not data:
                self._end(_LAST_SECONDS)
                break
            frames += self._frames.read(data)
            wait = 0.0
        return frames

    def _end(self, seconds: float) -> None:
        if not self._is_last:
            self._is_last = True
            self._deadline = time.monotonic() + seconds
            self._next_write = 0.0

    def _take(self, frame: RecorderFrame) -> None:
        items = frame.items
        match frame.kind:
            case FrameKind.FINISHED:
                self._prepare(frame)
            case FrameKind.PREPARED:
                self._pending.append(
                    _Pending(items[0], frame.exchange(), ExchangeTexts(*items[1]), Evidence.from_json(items[2]))
                )
            case FrameKind.REDACTOR if items[0] == 0:
                self._redactors.clear()
            case FrameKind.REDACTOR:
                self._redactors[items[0]] = Redactor(items[1])
            case FrameKind.OPEN:
                self._database = ExchangeDatabase(Path(items[0]), max_file_bytes=items[1])
                self._limits = CaptureLimits(**items[2])
            case FrameKind.TRIM:
                threading.Thread(target=self._trim, args=items, name="trim", daemon=True).start()
            case FrameKind.END:
                self._end(items[0])

    def _prepare(self, frame: RecorderFrame) -> None:
        number, level, redactor, _ = frame.items
        exchange, words = frame.exchange(), ExchangeTexts("", "", "")
        kept: Exchange | None = None
        evidence: Evidence | None = None
        try:
            bodies = ParsedBodies()
            kept = recordable(exchange, level, self._redactors.get(redactor), self._limits, bodies)
            words = words_of(kept, bodies)
            evidence = None if level == "off" else evidence_of(kept, bodies)
            self._told.append([number, changes(exchange, kept), words.excerpt])
        except Exception as error:  # noqa: BLE001 one request must not cost the others
            self._failed.append((number, f"request '{exchange.id}' cannot be recorded: {where(error)}"))
        self._pending.append(_Pending(number, None if level == "off" else kept, words, evidence))

    def _write(self) -> None:
        while self._pending and (time.monotonic() >= self._next_write or self._is_last):
            batch = [self._pending[index] for index in range(min(len(self._pending), self._limits.batch_exchanges))]
            try:
                self._insert(batch)
            except StoreError as error:
                self._next_write = time.monotonic() + _RETRY_SECONDS
                self._send(framed(FrameKind.TROUBLE, str(error)))
                return
            for _ in batch:
                self._pending.popleft()
            failed, self._failed = self._failed, []
            self._send(framed(FrameKind.DONE, batch[-1].number, failed))

    def _insert(self, batch: list[_Pending]) -> None:
        """Write them; those that no column holds are noted."""
        kept = [one for one in batch if one.exchange is not None]
        try:
            self._database.insert_read(
                ReadExchange(one.exchange, one.words, one.evidence) for one in kept if one.exchange
            )
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 (each that fails is noted when it is tried alone)
            # A plugin may have put into one of them what no column holds; the others must not suffer.
            for one in kept:
                self._insert_alone(one)

    def _insert_alone(self, one: _Pending) -> None:
        try:
            self._database.insert_read([ReadExchange(one.exchange, one.words, one.evidence)] if one.exchange else [])
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 as above
            why = f"request '{one.exchange and one.exchange.id}' cannot be recorded: {where(error)}"
            self._failed.append((one.number, why))

    def _trim(self, retention: dict[str, Any]) -> None:
        try:
            self._database.trim(**retention)
        except Exception as error:  # noqa: BLE001 requests are recorded all the same
            self._send(framed(FrameKind.UNTRIMMED, str(error)))

    def _send(self, frame: bytes) -> None:
        with self._sending, contextlib.suppress(OSError):  # a daemon that died needs to know nothing
            self._channel.sendall(frame)


def main() -> None:
    """Serve the connection that is the standard input; `select` takes none above 1023, which a daemon may have."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.set_threshold(*_OBJECTS_BETWEEN_COLLECTIONS)
    gc.freeze()
    with socket.socket(fileno=0) as channel:
        try:
            RecorderProcess(channel).run()
        except Exception as error:  # noqa: BLE001 its message may quote a request, and goes to the log
            at = traceback.extract_tb(error.__traceback__)[-1]
            sys.exit(f"{type(error).__name__} in {Path(at.filename).name}, line {at.lineno}")


if __name__ == "__main__":
    main()
