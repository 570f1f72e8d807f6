"""The body of an answer on its way to the caller, of which the record keeps a copy."""

from __future__ import annotations

import time
from collections.abc import Callable

from dmrc.gateway.server.body_writer import BodyWriter
from dmrc.gateway.streams.carrying import Carrying
from dmrc.gateway.streams.frames import Passed
from dmrc.streaming import Giver

KEPT_BYTES = 8 << 20
"""Of an answer, at most this much is kept in memory for the record; the caller gets all of it."""


class SentBody:
    """Notes when each piece came, and writes it; see `Sink`."""

    def __init__(self, writer: BodyWriter, clock: float) -> None:
        """Write by `writer`. `clock` is when the request came, by `time.perf_counter`."""
        self.writer = writer
        """What writes."""
        self.sent_bytes = 0
        """How much has been sent."""
        self.chunks: list[bytes] = []
        """The pieces that are kept, or several together."""
        self.offsets: list[tuple[float, int]] = []
        """For each piece milliseconds since the request came, and its place in the body."""
        self.carrying: Carrying | None = None
        """Where a stream process writes it."""
        self.is_cut = False
        """Whether nobody knows what was written at last, and so nothing can follow."""
        self._clock = clock
        self._write = writer.take

    def begin(self, giver: Giver) -> None:
        """Know who gives; the writer has a say."""
        self.writer.begin(giver)

    def take(self, chunk: bytes) -> None:
        """Note a piece, and write it."""
        self.note(chunk)
        self._write(chunk)

    def passed(self, passed: Passed) -> None:
        """Note pieces that a stream process has written."""
        kept = 0
        for offset_ms, size in zip(passed.offsets_ms, passed.sizes, strict=True):
            if self.sent_bytes < KEPT_BYTES:
                self.offsets.append((offset_ms, self.sent_bytes))
                kept += size
            self.sent_bytes += size
        if kept:
            self.chunks.append(passed.body[:kept])

    def when_told(self, call: Callable[[], None]) -> None:
        """Call once all is noted that has been written so far: at once, or when a stream process has told of it."""
        if self.carrying is None:
            call()
        else:
            self.carrying.when_told(call)

    def note(self, chunk: bytes) -> None:
        """Note a piece that goes another way."""
        sent = self.sent_bytes
        if sent < KEPT_BYTES:
            self.offsets.append(((time.perf_counter() - self._clock) * 1000, sent))
            self.chunks.append(chunk)
        self.sent_bytes = sent + len(chunk)
