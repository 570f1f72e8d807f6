"""Which runner ends for which: the decisions, as values. Nothing here starts or ends anything.

The rule, when a model waits for memory that others hold:

1. What fits starts at once.
2. What could not fit beside the pinned runners, were all others gone, is refused with the numbers.
3. Idle runners go first, the least recently used one first, and only if that helps. One whose last answer
   ended a moment ago counts as busy: its client may be about to ask again, and two clients that take turns without a
   pause would load their models for each single request.
4. A busy runner goes on for a window, counted from when both it was ready and the other waited: ten seconds, or as long
   as its own load took, so that at most half of the time goes into loading. Then it takes no new request, ends when
   its last answer has ended, and those who wait for it wait for its successor, in their order. When nobody wants it,
   the window is over at once (3).
5. Memory for earlier prompts is what nobody else needs. What of it is not filled yet counts as free: whoever takes it
   starts at once, and the runner that had it starts anew with less when it is idle, or after its window. What is filled
   is given back in the same way before any runner has to go, and before a load is refused; pinned runners do so too.
6. Memory that is being given up belongs to the one that it is given up for. Others may have what is left beside it;
   and before that they may overtake, for the length of the first one's window.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.errors import BusyError
from dmrc.scheduler.budget import Budget, MemoryNeed, MemoryUse, with_less_prompt_cache, with_prompt_cache
from dmrc.scheduler.limits import Limits
from dmrc.scheduler.runner import ManagedRunner, RunnerState

_FOR_EVER = 3600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a runner that waits for memory is to do next: start, or let others give way, or look again."""

    need: MemoryNeed | None = None
    """It starts, with this."""
    claim: MemoryNeed | None = None
    """What it will have when the `victims` have gone."""
    victims: Sequence[ManagedRunner] = ()
    """These give way now, the busy ones as soon as their users have finished."""
    givers: Sequence[ManagedRunner] = ()
    """These start anew with a smaller prompt cache: the idle ones now, the others when they are idle."""
    wait_seconds: float = _FOR_EVER
    """It looks again after this time, and whenever something changes."""


class Eviction:
    """Decides which runner gets memory, and which ones have to go for it."""

    def __init__(self, budget: Budget, limits: Limits) -> None:
        """Share out `budget`."""
        self._budget = budget
        self._limits = limits

    def plan(self, runner: ManagedRunner, others: Sequence[ManagedRunner]) -> Plan:
        """Return what `runner` is to do, where the `others` live.

        Raises:
            InsufficientMemoryError: It can never fit beside the pinned ones.
            BusyError: It has waited too long.
        """
        now = time.monotonic()
        holders = [other for other in others if other.need is not None]
        claimer = next((other for other in others if other.claim is not None), None)
        free = self._free(holders, claimer)
        need = self._budget.fit(runner.engine, runner.target, free)
        if need is not None and not self._is_due(others, runner, now):
            return self._start(runner, need, free, holders)
        movable = [other for other in holders if not other.is_pinned or other.state is RunnerState.DRAINING]
        at_best = self._without(holders, movable, [other for other in holders if other not in movable])
        if self._budget.fit(runner.engine, runner.target, at_best) is None:
            raise self._budget.refuse(runner.engine, runner.target, at_best)
        patience = runner.waits_since + self._limits.room_seconds - now
        if patience <= 0:
            raise self._too_long(runner, free)
        if claimer is not None or self._is_due(others, runner, now):
            return Plan(wait_seconds=patience)
        return self._give_way(runner, holders, patience)

    def _start(self, runner: ManagedRunner, need: MemoryNeed, free: int, holders: Sequence[ManagedRunner]) -> Plan:
        """Return the start of a runner, with what is promised to nobody for its prompts; others give back the rest."""
        unpromised = free - _unfilled(holders)
        given = with_prompt_cache(need, runner.engine, runner.target, unpromised)
        if runner.claim is not None:  # those who gave way for it come back for what was left to them
            given = with_less_prompt_cache(given, runner.claim.memory.prompt_cache_bytes)
        wanted = need.memory.total_bytes - unpromised
        givers = []
        for holder in sorted(holders, key=lambda holder: (not holder.is_idle, holder.last_used)):
            if wanted > 0 and holder.can_give_back:
                givers.append(holder)
                wanted -= holder.held.unfilled_bytes
        return Plan(need=given, givers=givers)

    def _give_way(self, runner: ManagedRunner, holders: Sequence[ManagedRunner], patience: float) -> Plan:
        """Return who must go for `runner`, or give memory back, or how long it is until they may be told."""
        now = time.monotonic()
        going = [other for other in holders if other.state is RunnerState.DRAINING]
        ready = [other for other in holders if other.state is RunnerState.READY and not other.is_pinned]
        idle = sorted((other for other in ready if other.is_idle), key=lambda other: other.last_used)
        busy = sorted((other for other in ready if not other.is_idle), key=lambda other: self._until(other, runner))
        candidates = [*idle, *busy]
        filled = [other for other in holders if other.can_give_back]
        for count, may_give in [(0, False), (0, True), *((count, True) for count in range(1, len(candidates) + 1))]:
            victims = candidates[:count]
            givers = [other for other in filled if other not in victims] if may_give else []
            free = self._without(holders, [*going, *victims], givers)
            claim = self._budget.fit(runner.engine, runner.target, free)
            if claim is None:
                continue
            left = max((self._until(other, runner) - now for other in [*victims, *givers]), default=0.0)
            if left > 0:
                return Plan(wait_seconds=min(left, patience))
            staying = [
                other for other in holders if other not in going and other not in victims and other not in givers
            ]
            claim = with_prompt_cache(claim, runner.engine, runner.target, free - _unfilled(staying))
            return Plan(claim=claim, victims=victims, givers=givers, wait_seconds=patience)
        return Plan(wait_seconds=patience)  # others still load

    def _until(self, resident: ManagedRunner, runner: ManagedRunner) -> float:
        """Return when a resident has to give way, on the monotonic clock."""
        limits = self._limits
        window = max(limits.window_seconds, min(resident.load_seconds or 0.0, limits.longest_window_seconds))
        at_the_latest = max(resident.ready_since, runner.waits_since) + window
        return min(at_the_latest, resident.idle_since + limits.linger_seconds) if resident.is_idle else at_the_latest

    def _is_due(self, others: Sequence[ManagedRunner], runner: ManagedRunner, now: float) -> bool:
        """Return whether one that waits longer may not be overtaken any more."""
        return any(
            other.state is RunnerState.WAITING
            and other.claim is None
            and other.waits_since < runner.waits_since
            and now - other.waits_since > self._limits.window_seconds
            for other in others
        )

    def _free(self, holders: Sequence[ManagedRunner], claimer: ManagedRunner | None) -> int:
        """Return the bytes that are free, and are not going to be another's."""
        free = self._budget.available(holder.held for holder in holders)
        if claimer is None or claimer.claim is None:
            return free
        going = [holder for holder in holders if holder.state is RunnerState.DRAINING]
        return min(free, self._without(holders, going, more=[MemoryUse(claimer.claim.memory.total_bytes, 0)]))

    def _without(
        self,
        holders: Sequence[ManagedRunner],
        going: Sequence[ManagedRunner],
        givers: Sequence[ManagedRunner] = (),
        more: Sequence[MemoryUse] = (),
    ) -> int:
        """Return the bytes that are free once some have gone, `givers` have no prompt cache, and `more` is held."""
        staying = [holder.held for holder in holders if holder not in going and holder not in givers]
        anew = [MemoryUse(giver.need.memory.bare_bytes, 0) for giver in givers if giver.need is not None]
        return self._budget.available([*staying, *anew, *more], (holder.held for holder in [*going, *givers]))

    def _too_long(self, runner: ManagedRunner, free: int) -> BusyError:
        refusal = self._budget.refuse(runner.engine, runner.target, free)
        return BusyError(
            f"{refusal.message}; the models that use the rest were busy for {self._limits.room_seconds:.0f} s",
            retry_after_seconds=30,
            remedy=refusal.remedy,
        )


def _unfilled(holders: Sequence[ManagedRunner]) -> int:
    """Return what the prompt caches of runners may still grow by; those that start anew grow no more."""
    return sum(holder.held.unfilled_bytes for holder in holders if not holder.gives_back)
