"""What a request holds while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import aiohttp

from dmrc.errors import EngineError
from dmrc.scheduler.line import Place
from dmrc.scheduler.runner import Runner


@dataclass(frozen=True, slots=True)
class Lease:
    """A slot of a runner, held by one request."""

    runner: Runner
    """The runner; it does not go while the lease is held."""
    session: aiohttp.ClientSession
    """HTTP client to the runner's socket."""
    queue_ms: float
    """Milliseconds spent waiting for a slot."""
    load_ms: float
    """Milliseconds spent waiting for the model to load, and for the memory to do so."""

    @classmethod
    def of(cls, runner: Runner, place: Place) -> Lease:
        """Return the lease of a request that has got its slot now.

        Raises:
            EngineError: The runner has ended in the same moment.
        """
        if runner.session is None:
            raise EngineError(f"the engine of model '{runner.target.reference}' has ended", remedy="Try again")
        loaded = max(place.since, runner.ready_since)
        return cls(
            runner,
            runner.session,
            queue_ms=(time.monotonic() - loaded) * 1000,
            load_ms=(loaded - place.since) * 1000,
        )
