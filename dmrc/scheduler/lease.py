"""What a request holds while it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from dmrc.engines.session import Session
from dmrc.scheduler.queue import QueueEntry
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.slots import Seat


@dataclass(slots=True)
class Lease:
    """A slot of a runner, held by one request."""

    runner: ManagedRunner
    """The runner; it does not go while the lease is held."""
    session: Session
    """HTTP client of the runner."""
    queue_ms: float
    """Milliseconds spent waiting for a slot."""
    load_ms: float
    """Milliseconds spent waiting for the model to load, and for the memory to do so."""
    seat: Seat | None = None
    """Which of its engine's slots it has, where that is told."""

    @classmethod
    def of(cls, runner: ManagedRunner, session: Session, entry: QueueEntry[ManagedRunner]) -> Lease:
        """Return the lease of a request that has got its slot now."""
        loaded = max(entry.since, runner.ready_since)
        return cls(
            runner,
            session,
            queue_ms=(time.monotonic() - loaded) * 1000,
            load_ms=(loaded - entry.since) * 1000,
        )

    def slot_for(self, document: Mapping[str, object], *, may_be_kept: bool = False) -> int | None:
        """Return which slot the engine is to be told for a request (`id_slot`); None: it chooses by itself.

        Whoever sends a request that takes a slot of the engine must ask, with what is sent; {} where that is not known.
        `may_be_kept` is whether its prompt may be in a file while the model is not loaded.
        """
        slots = self.runner.slots
        if slots is None:
            return None
        self.seat = slots.take(document, may_be_kept=may_be_kept)
        return self.seat.number

    def leave_slot(self, *, hung_up: bool = False) -> None:
        """Give the slot back: its request was answered, or the engine has let go of one whose caller has hung up."""
        slots, seat = self.runner.slots, self.seat
        if slots is None or seat is None:
            return
        if hung_up:
            slots.leave_behind(seat, self.runner.hang_ups.count)
        else:
            slots.leave(seat)
