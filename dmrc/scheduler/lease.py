"""What a request holds while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass

from dmrc.engines.session import Session
from dmrc.scheduler.queue import QueueEntry
from dmrc.scheduler.runner import ManagedRunner


@dataclass(frozen=True, slots=True)
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
