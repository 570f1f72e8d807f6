"""What the recorder is told of an exchange: whose it is, how much of it to record, which secrets to mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dmrc.capture.redaction import Redactor
from dmrc.exchange import Exchange
from dmrc.settings import CaptureLevel


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of the past is kept."""

    max_count: int | None = None
    """Most exchanges; None, here and below: no limit."""
    max_bytes: int | None = None
    """Most bytes of the file that are in use."""
    max_age_seconds: float | None = None
    """Longest age of an exchange."""


class Policy(Protocol):
    """What the recorder must know of the world. Called in its thread; may block for a moment."""

    def attributed(self, exchange: Exchange) -> Exchange:
        """Return the exchange with who asked, as far as it can be told now."""

    def level(self, exchange: Exchange) -> CaptureLevel:
        """Return how much of the exchange is recorded."""

    def redactor(self, exchange: Exchange) -> Redactor | None:
        """Return what masks the secrets in it; None where they are not known, and no content may be kept."""


class AnyCaller:
    """The policy where there are no projects."""

    def __init__(self, level: CaptureLevel) -> None:
        """Record everything at `level`."""
        self._level: CaptureLevel = level
        self._redactor = Redactor()

    def attributed(self, exchange: Exchange) -> Exchange:
        """Return the exchange as it is."""
        return exchange

    def level(self, _exchange: Exchange) -> CaptureLevel:
        return self._level

    def redactor(self, _exchange: Exchange) -> Redactor:
        """Return one that knows dmrc's own keys."""
        return self._redactor
