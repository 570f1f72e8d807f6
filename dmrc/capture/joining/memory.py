"""What was said, and in which conversations: where requests are joined, and a memory of it without a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dmrc.capture.joining.evidence import Mark
from dmrc.exchange import Exchange

MOST_FOUND = 16
"""So many of the newest exchanges that said one thing are looked at."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """An exchange that said something."""

    number: int
    """Its place in the order in which they were noted."""
    conversation: str
    """Id of its conversation."""
    finished_at: float
    """Unix seconds."""
    trace_id: str | None
    """Of the exchange."""
    session_id: str | None
    """Of the exchange."""
    service: str | None
    """Of the exchange."""
    client_address: str | None
    """Of the exchange."""

    def is_same_caller(self, exchange: Exchange) -> bool:
        """Return whether both came from one service at one address."""
        return (self.service, self.client_address) == (exchange.service, exchange.client_address)


@dataclass(frozen=True, slots=True)
class Extent:
    """How large a conversation is, and when it began."""

    exchanges: int
    """How many it has; counted up to a limit."""
    began_at: float
    """When its first request came in; Unix seconds."""


class EvidenceMemory(Protocol):
    """Knows what was said. Used by one thread at a time."""

    def speakers(self, marks: Sequence[Mark]) -> list[tuple[Mark, Speaker]]:
        """Return who said each of the marks, all of one kind, the newest `MOST_FOUND` of each."""

    def said_by(self, kind: int, number: int) -> int:
        """Return how many marks of a kind one exchange said."""

    def is_continued(self, mark: Mark, speaker: Speaker) -> bool:
        """Return whether somebody went on from there."""

    def go_on(self, mark: Mark, speaker: Speaker) -> None:
        """Note that somebody went on from there."""

    def extent(self, conversation: str, most: int) -> Extent | None:
        """Return the extent of a conversation, counted up to `most`; None where there is none."""

    def merge(self, conversation: str, into: str) -> None:
        """Make one conversation of two."""


def finished_at(exchange: Exchange) -> float:
    """Return when the caller had its answer; Unix seconds."""
    return exchange.received_at + (exchange.total_ms or 0.0) / 1000
