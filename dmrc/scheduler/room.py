"""Who makes room for whom: the decisions, as values. Nothing here starts or ends anything.

The rule, when a model waits for memory that others hold:

1. What fits starts at once.
2. What could not fit beside the pinned runners, were all others gone, is refused with the numbers.
3. Idle runners go first, the one that rested longest before the others, and only if that helps. One whose last answer
   ended a moment ago counts as busy: its client may be about to ask again, and two clients that take turns without a
   pause would load their models for each single request.
4. A busy runner goes on for a window, counted from when both it was ready and the other waited: ten seconds, or as long
   as its own load took, so that at most half of the time goes into loading. Then it takes no new request, ends when
   its last answer has ended, and those who wait for it wait for its successor, in their order. When nobody wants it,
   the window is over at once (3).
5. Memory that is being given up belongs to the one that it is given up for. Others may have what is left beside it;
   and before that they may overtake, for the length of the first one's window.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.errors import BusyError
from dmrc.scheduler.budget import Budget, Held, Need
from dmrc.scheduler.limits import Limits
from dmrc.scheduler.runner import Runner, State

_FOR_EVER = 3600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a runner that waits for memory is to do next: start, or let others give way, or look again."""

    need: Need | None = None
    """It starts, with this."""
    claim: Need | None = None
    """What it will have when the `victims` have gone."""
    victims: Sequence[Runner] = ()
    """These give way now, the busy ones as soon as their users have finished."""
    wait_seconds: float = _FOR_EVER
    """It looks again after this time, and whenever something changes."""


class Room:
    """The memory, and who may have it."""

    def __init__(self, budget: Budget, limits: Limits) -> None:
        """Share out `budget`."""
        self._budget = budget
        self._limits = limits

    def plan(self, runner: Runner, others: Sequence[Runner], largest_parallel: int | None) -> Plan:
        """Return what `runner` is to do, where the `others` live.

        Raises:
            InsufficientMemoryError: It can never fit beside the pinned ones.
            BusyError: It has waited too long.
        """
        now = time.monotonic()
        holders = [other for other in others if other.need is not None]
        claimer = next((other for other in others if other.claim is not None), None)
        free = self._free(holders, claimer)
        need = self._budget.fit(runner.local_target, free, largest_parallel)
        if need is not None and not self._is_due(others, runner, now):
            return Plan(need=need)
        movable = [other for other in holders if not other.is_pinned or other.state is State.DRAINING]
        at_best = self._without(holders, movable)
        if self._budget.fit(runner.local_target, at_best, largest_parallel) is None:
            raise self._budget.refuse(runner.local_target, at_best, largest_parallel)
        patience = runner.waits_since + self._limits.room_seconds - now
        if patience <= 0:
            raise self._too_long(runner, free, largest_parallel)
        if claimer is not None or self._is_due(others, runner, now):
            return Plan(wait_seconds=patience)
        return self._give_way(runner, holders, largest_parallel, patience)

    def _give_way(
        self, runner: Runner, holders: Sequence[Runner], largest_parallel: int | None, patience: float
    ) -> Plan:
        """Return who must go for `runner`, or how long it is until they may be told."""
        now = time.monotonic()
        going = [other for other in holders if other.state is State.DRAINING]
        ready = [other for other in holders if other.state is State.READY and not other.is_pinned]
        idle = sorted((other for other in ready if other.is_idle), key=lambda other: other.last_used)
        busy = sorted((other for other in ready if not other.is_idle), key=lambda other: self._until(other, runner))
        candidates = [*idle, *busy]
        for count in range(len(candidates) + 1):
            victims = candidates[:count]
            claim = self._budget.fit(runner.local_target, self._without(holders, [*going, *victims]), largest_parallel)
            if claim is None:
                continue
            left = max((self._until(victim, runner) - now for victim in victims), default=0.0)
            if left > 0:
                return Plan(wait_seconds=min(left, patience))
            return Plan(claim=claim, victims=victims, wait_seconds=patience)
        return Plan(wait_seconds=patience)  # others still load

    def _until(self, resident: Runner, runner: Runner) -> float:
        """Return when a resident has to give way, on the monotonic clock."""
        limits = self._limits
        window = max(limits.window_seconds, min(resident.load_seconds or 0.0, limits.longest_window_seconds))
        at_the_latest = max(resident.ready_since, runner.waits_since) + window
        return min(at_the_latest, resident.idle_since + limits.linger_seconds) if resident.is_idle else at_the_latest

    def _is_due(self, others: Sequence[Runner], runner: Runner, now: float) -> bool:
        """Return whether one that waits longer may not be overtaken any more."""
        return any(
            other.state is State.WAITING
            and other.claim is None
            and other.waits_since < runner.waits_since
            and now - other.waits_since > self._limits.window_seconds
            for other in others
        )

    def _free(self, holders: Sequence[Runner], claimer: Runner | None) -> int:
        """Return the bytes that are free, and are not going to be another's."""
        free = self._budget.available(holder.held for holder in holders)
        if claimer is None or claimer.claim is None:
            return free
        going = [holder for holder in holders if holder.state is State.DRAINING]
        return min(free, self._without(holders, going, Held(claimer.claim.memory.total_bytes, 0)))

    def _without(self, holders: Sequence[Runner], going: Sequence[Runner], *more: Held) -> int:
        """Return the bytes that are free once some have gone, and `more` is held."""
        staying = [holder.held for holder in holders if holder not in going]
        return self._budget.available([*staying, *more], (holder.held for holder in going))

    def _too_long(self, runner: Runner, free: int, largest_parallel: int | None) -> BusyError:
        refusal = self._budget.refuse(runner.local_target, free, largest_parallel)
        return BusyError(
            f"{refusal.message}; the models that use the rest were busy for {self._limits.room_seconds:.0f} s",
            retry_after_seconds=30,
            remedy=refusal.remedy,
        )
