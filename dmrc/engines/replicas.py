"""Several servers of one model behind one runner, which may grow and shrink while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

ReplicaStateName = Literal["starting", "ready", "draining"]
"""Where a replica is in its life; one that has failed is `starting` until it answers again."""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """One replica, as it is now."""

    name: str
    """What it is called: `llm-2`; of an upstream its URL."""
    node: str | None
    """The machine that it is on, where that is known."""
    state: ReplicaStateName
    slots: int
    """Requests that it serves at the same time."""
    in_use: int
    """Requests that it serves now."""


class Replicas(Protocol):
    """The replicas of one runner. For one event loop."""

    @property
    def slots(self) -> int:
        """Return how many requests the runner takes at the same time, all replicas together."""

    @property
    def notice(self) -> str | None:
        """Return what the users of the model should know of them, as a clause; None where there is nothing."""

    def now(self) -> Sequence[ReplicaState]:
        """Return the replicas as they are known now; asks nobody."""

    async def changed(self) -> None:
        """Wait until there is news of them. One task at a time calls it, again and again.

        Raises:
            ConnectionError: Who knows of them cannot be asked now.
        """

    async def log(self, name: str, lines: int) -> str:
        """Return the last lines that a replica printed.

        Raises:
            NotFoundError: None is called so.
            UnsupportedError: Its log is not to be had.
            ConnectionError: Who has it cannot be asked now.
        """
