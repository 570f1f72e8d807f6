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
7. All this holds for RAM and for each graphics card. A model of which a card can hold a part only waits while others
   come to its cards or leave them. Then idle runners go if that puts more of it on a card; busy ones do not go for
   that, unless the project requires a card. `fitting` says which of two ways to fit is the better one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.errors import BusyError
from dmrc.scheduler.budget import Budget, MemoryUse, with_less_prompt_cache, with_prompt_cache
from dmrc.scheduler.fitting import MemoryNeed, best_fit
from dmrc.scheduler.limits import Limits
from dmrc.scheduler.room import Reading, Room
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.states import RunnerState

NO_CARDS = Reading()

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

    def plan(self, runner: ManagedRunner, others: Sequence[ManagedRunner], reading: Reading = NO_CARDS) -> Plan:
        """Return what `runner` is to do, where the `others` live, and its engine has said of its cards what is read.

        Raises:
            InsufficientMemoryError: It can never fit beside the pinned ones.
            BusyError: It has waited too long.
            InputError, UnsupportedError: It asks for a card that is not there.
        """
        now = time.monotonic()
        holders = [other for other in others if other.need is not None]
        claimer = next((other for other in others if other.claim is not None), None)
        free = self._free(holders, claimer, reading)
        need = best_fit(runner.engine, runner.target, free)
        patience = runner.waits_since + self._limits.room_seconds - now
        is_due = self._is_due(others, runner, now)
        if need is not None and not is_due:
            better = None
            if need.is_split and patience > 0:
                moves = claimer is not None or any(holder.is_on_its_way for holder in holders if holder.held.cards)
                better = Plan(wait_seconds=patience) if moves else self._for_a_card(runner, need, holders, reading)
            return better or self._start(runner, need, free, holders)
        movable = [other for other in holders if not other.is_pinned or other.state is RunnerState.DRAINING]
        staying = [other for other in holders if other not in movable]
        at_best = self._without(reading, holders, movable, staying)
        if best_fit(runner.engine, runner.target, at_best) is None:
            raise self._budget.refuse(runner.engine, runner.target, at_best)
        if patience <= 0:
            raise self._too_long(runner, free)
        # What one that loads has taken of a card already is counted twice: by the driver, and as promised.
        loading = [holder for holder in holders if holder.state is RunnerState.STARTING and holder.held.cards]
        then = self._without(reading, holders, givers=loading)
        will_fit = bool(loading) and best_fit(runner.engine, runner.target, then) is not None
        if claimer is not None or is_due or will_fit:
            return Plan(wait_seconds=patience)
        return self._give_way(runner, holders, reading)

    def _start(self, runner: ManagedRunner, need: MemoryNeed, free: Room, holders: Sequence[ManagedRunner]) -> Plan:
        """Return the start of a runner, with what is promised to nobody for its prompts; others give back the rest."""
        unpromised = free.ram_bytes - _unfilled(holders)
        given = with_prompt_cache(need, runner.engine, runner.target, unpromised)
        if runner.claim is not None:  # those who gave way for it come back for what was left to them
            given = with_less_prompt_cache(given, runner.claim.memory.prompt_cache_bytes)
        wanted = need.ram_bytes - unpromised
        givers = []
        for holder in sorted(holders, key=lambda holder: (not holder.is_idle, holder.last_used)):
            if wanted > 0 and holder.can_give_back:
                givers.append(holder)
                wanted -= holder.held.unfilled_bytes
        return Plan(need=given, givers=givers)

    def _for_a_card(
        self, runner: ManagedRunner, need: MemoryNeed, holders: Sequence[ManagedRunner], reading: Reading
    ) -> Plan | None:
        """Return which idle runners are to go, where that puts more of `runner` on cards than `need` does."""
        idle = [holder for holder in holders if holder.held.cards and holder.is_idle and not holder.is_pinned]
        idle.sort(key=lambda holder: holder.last_used)
        for count in range(1, len(idle) + 1):
            claim = best_fit(runner.engine, runner.target, self._without(reading, holders, idle[:count]))
            if claim is not None and (not claim.is_split or count == len(idle)) and not need.is_as_good_as(claim):
                return self._claim(runner, claim, holders, reading, idle[:count])
        return None

    def _give_way(self, runner: ManagedRunner, holders: Sequence[ManagedRunner], reading: Reading) -> Plan:
        """Return who must go for `runner`, or give memory back, or how long it is until they may be told."""
        going = [other for other in holders if other.state is RunnerState.DRAINING]
        ready = [other for other in holders if other.state is RunnerState.READY and not other.is_pinned]
        idle = sorted((other for other in ready if other.is_idle), key=lambda other: other.last_used)
        busy = sorted((other for other in ready if not other.is_idle), key=lambda other: self._until(other, runner))
        candidates = [*idle, *busy]
        filled = [other for other in holders if other.can_give_back]
        for count, may_give in [(0, False), (0, True), *((count, True) for count in range(1, len(candidates) + 1))]:
            victims = candidates[:count]
            givers = [other for other in filled if other not in victims] if may_give else []
            claim = best_fit(runner.engine, runner.target, self._without(reading, holders, [*going, *victims], givers))
            if claim is not None:
                return self._claim(runner, claim, holders, reading, victims, givers)
        patience = runner.waits_since + self._limits.room_seconds - time.monotonic()
        return Plan(wait_seconds=patience)  # others still load

    def _claim(
        self,
        runner: ManagedRunner,
        claim: MemoryNeed,
        holders: Sequence[ManagedRunner],
        reading: Reading,
        victims: Sequence[ManagedRunner],
        givers: Sequence[ManagedRunner] = (),
    ) -> Plan:
        """Return that `victims` and `givers` give way for a claim, or how long it is until they may be told."""
        now = time.monotonic()
        patience = runner.waits_since + self._limits.room_seconds - now
        going = [other for other in holders if other.state is RunnerState.DRAINING]
        victims = self._needed(runner, claim, holders, reading, victims, givers)
        left = max((self._until(other, runner) - now for other in [*victims, *givers]), default=0.0)
        if left > 0:
            return Plan(wait_seconds=min(left, patience))
        free = self._without(reading, holders, [*going, *victims], givers)
        staying = [other for other in holders if other not in going and other not in victims and other not in givers]
        claim = with_prompt_cache(claim, runner.engine, runner.target, free.ram_bytes - _unfilled(staying))
        return Plan(claim=claim, victims=victims, givers=givers, wait_seconds=patience)

    def _needed(
        self,
        runner: ManagedRunner,
        claim: MemoryNeed,
        holders: Sequence[ManagedRunner],
        reading: Reading,
        victims: Sequence[ManagedRunner],
        givers: Sequence[ManagedRunner],
    ) -> list[ManagedRunner]:
        """Return the victims that the claim needs: one that has RAM only is of no use where a card is scarce."""
        going = [other for other in holders if other.state is RunnerState.DRAINING]
        needed = list(victims)
        for victim in victims:
            rest = [other for other in needed if other is not victim]
            room = self._without(reading, holders, [*going, *rest], givers)
            if (fit := best_fit(runner.engine, runner.target, room)) is not None and fit.is_as_good_as(claim):
                needed = rest
        return needed

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

    def _free(self, holders: Sequence[ManagedRunner], claimer: ManagedRunner | None, reading: Reading) -> Room:
        """Return what is free, and is not going to be another's."""
        free = self._without(reading, holders)
        if claimer is None or claimer.claim is None:
            return free
        going = [holder for holder in holders if holder.state is RunnerState.DRAINING]
        claimed = MemoryUse(claimer.claim.ram_bytes, 0, cards=claimer.claim.cards)
        return free.least(self._without(reading, holders, going, more=[claimed]))

    def _without(
        self,
        reading: Reading,
        holders: Sequence[ManagedRunner],
        going: Sequence[ManagedRunner] = (),
        givers: Sequence[ManagedRunner] = (),
        more: Sequence[MemoryUse] = (),
    ) -> Room:
        """Return what is free once some have gone, `givers` have no prompt cache, and `more` is held."""
        staying = [holder.held for holder in holders if holder not in going and holder not in givers]
        anew = [MemoryUse(giver.need.bare_bytes, 0, cards=giver.need.cards) for giver in givers if giver.need]
        leaving = [holder.held for holder in [*going, *givers]]
        return self._budget.room([*staying, *anew, *more], leaving, reading)

    def _too_long(self, runner: ManagedRunner, free: Room) -> BusyError:
        refusal = self._budget.refuse(runner.engine, runner.target, free)
        return BusyError(
            f"{refusal.message}; the models that use the rest were busy for {self._limits.room_seconds:.0f} s",
            retry_after_seconds=30,
            remedy=refusal.remedy,
        )


def _unfilled(holders: Sequence[ManagedRunner]) -> int:
    """Return what the prompt caches of runners may still grow by; those that start anew grow no more."""
    return sum(holder.held.unfilled_bytes for holder in holders if not holder.gives_back)
