"""The body of an answer on its way to the caller, of which the record keeps a copy."""

from __future__ import annotations

import time

from dmrc.gateway.server.body_writer import BodyWriter
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
        """The pieces that are kept."""
        self.offsets: list[tuple[float, int]] = []
        """For each of them milliseconds since the request came, and its place in the body."""
        self._clock = clock
        self._write = writer.take

    def begin(self, giver: Giver) -> None:
        """Know who gives; the writer has a say."""
        self.writer.begin(giver)

    def take(self, chunk: bytes) -> None:
        """Note a piece, and write it."""
        self.note(chunk)
        self._write(chunk)

    def note(self, chunk: bytes) -> None:
        """Note a piece that goes another way."""
        sent = self.sent_bytes
        if sent < KEPT_BYTES:
            self.offsets.append(((time.perf_counter() - self._clock) * 1000, sent))
            self.chunks.append(chunk)
        self.sent_bytes = sent + len(chunk)
