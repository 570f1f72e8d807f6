"""A simulation of one model's queue and its replicas. It computes; nothing runs.

Requests wait in one queue, in the order in which they come, for a slot of the least busy replica, as they do in dmrc.
Requests that run on the same replica slow one another down. Replicas come and go as Ray Serve's autoscaling has them.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request."""

    at: float
    """Second in which it comes."""
    tokens: float
    """What is to be computed: tokens generated, and those of the prompt by what they cost of one."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a replica is: one that runs `n` requests takes `alone + each * n` seconds for a token of each."""

    alone: float
    """Seconds."""
    each: float
    """Seconds."""

    def seconds_per_token(self, running: int) -> float:
        """Return what a token of each takes where so many run."""
        return self.alone + self.each * running


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The replicas that may be, and when there are more or fewer of them.

    Source: https://docs.ray.io/en/latest/serve/advanced-guides/advanced-autoscaling.html
    """

    least: int = 1
    """How many there always are."""
    first: int | None = None
    """How many there are when it begins; None is `least`."""
    most: int = 1
    """How many there may be."""
    slots: int = 1
    """Requests that a replica runs at the same time."""
    target: float = 1.0
    """Requests, waiting ones among them, that there should be for each replica."""
    start_seconds: float = 0.0
    """How long a replica loads its model."""
    upscale_seconds: float = 30.0
    """How long more must be wanted before more are started."""
    downscale_seconds: float = 600.0
    """How long fewer must be wanted before one ends."""
    look_seconds: float = 1.0
    """How often it is looked."""
    waiting: int | None = None
    """How many may wait; the next one is refused. None is any number."""


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    waits: list[float] = field(default_factory=list)
    """Seconds in the queue, of each request that was served."""
    totals: list[float] = field(default_factory=list)
    """Seconds from the arrival to the end, likewise; in the order of the ends."""
    refused: int = 0
    """Requests that came when too many waited."""
    end: float = 0.0
    """Second of the last end."""
    replica_seconds: float = 0.0
    """How long replicas were there, the time of their loading among it."""
    busy_seconds: float = 0.0
    """How long replicas had at least one request."""
    most: int = 0
    """The most replicas that there were at the same time."""


def simulate(arrivals: Sequence[Arrival], speed: Speed, fleet: Fleet) -> Outcome:
    """Return what becomes of requests, which are in the order of their times. Always the same for the same ones."""
    return _Run(arrivals, speed, fleet).whole()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of them does not exceed; 0 where there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


class _Replica:
    """One replica. All that runs on it goes on at the same pace: `_done` tokens of each since it began."""

    def __init__(self, speed: Speed, now: float) -> None:
        self.began = now
        self.is_ready = False
        self.is_draining = False
        self.version = 0
        """Goes up whenever it runs more or fewer: an end that was foreseen before that does not hold any more."""
        self.running: list[tuple[float, int, Arrival]] = []
        """Heap of the `_done` at which each ends, its number, and itself."""
        self.busy_seconds = 0.0
        self._speed = speed
        self._done = 0.0
        self._at = now

    def begin(self, number: int, arrival: Arrival, now: float) -> None:
        self._advance(now)
        heapq.heappush(self.running, (self._done + arrival.tokens, number, arrival))

    def finish(self, now: float) -> Arrival:
        """End the one that is done."""
        self._advance(now)
        self._done, _, arrival = heapq.heappop(self.running)
        return arrival

    def next_end(self) -> float:
        """Return when the next one is done, if none comes or goes before."""
        left = max(0.0, self.running[0][0] - self._done)
        return self._at + left * self._speed.seconds_per_token(len(self.running))

    def _advance(self, now: float) -> None:
        self.version += 1
        if self.running:
            self._done += (now - self._at) / self._speed.seconds_per_token(len(self.running))
            self.busy_seconds += now - self._at
        self._at = now


class _Run:
    def __init__(self, arrivals: Sequence[Arrival], speed: Speed, fleet: Fleet) -> None:
        self._arrivals = arrivals
        self._speed = speed
        self._fleet = fleet
        self._outcome = Outcome()
        self._serials = itertools.count()
        self._queue: deque[Arrival] = deque()
        self._events: list[tuple[float, int, int, _Replica]] = []
        """Heap of what is to come: when, a number, the version of the replica that it is about, and the replica."""
        self._replicas: set[_Replica] = set()
        self._by_load: list[dict[_Replica, None]] = [{} for _ in range(fleet.slots)]
        """Those that take one more request, by how many they run."""
        self._in_use = 0
        self._wants_more_since = self._wants_fewer_since = math.inf
        for _ in range(fleet.first or fleet.least):
            self._start(0.0, 0.0)

    def whole(self) -> Outcome:
        """Go from event to event."""
        is_fixed = self._fleet.most <= self._fleet.least
        look_at = math.inf if is_fixed else self._fleet.look_seconds
        coming = iter(self._arrivals)
        arrival = next(coming, None)
        while arrival is not None or self._queue or self._in_use:
            event_at = self._events[0][0] if self._events else math.inf
            arrives_at = arrival.at if arrival is not None else math.inf
            if event_at <= min(arrives_at, look_at):
                self._happen(*heapq.heappop(self._events))
            elif arrival is not None and arrives_at <= look_at:
                self._arrive(arrival)
                arrival = next(coming, None)
            else:
                self._look(look_at)
                look_at += self._fleet.look_seconds
        for replica in list(self._replicas):
            self._remove(replica, max(self._outcome.end, replica.began))
        return self._outcome

    def _happen(self, now: float, _serial: int, version: int, replica: _Replica) -> None:
        if version != replica.version or replica not in self._replicas:
            return
        if not replica.is_ready:
            replica.is_ready = True
            self._by_load[0][replica] = None
        else:
            self._listed(replica).pop(replica, None)
            arrival = replica.finish(now)
            self._in_use -= 1
            self._outcome.totals.append(now - arrival.at)
            self._outcome.end = now
            if replica.is_draining and not replica.running:
                self._remove(replica, now)
                return
            self._rest(replica)
        self._serve(now)

    def _arrive(self, arrival: Arrival) -> None:
        if self._fleet.waiting is not None and len(self._queue) >= self._fleet.waiting:
            self._outcome.refused += 1
            return
        self._queue.append(arrival)
        self._serve(arrival.at)

    def _serve(self, now: float) -> None:
        """Give those who wait what slots there are, of the least busy replica first."""
        while self._queue and (free := next((each for each in self._by_load if each), None)):
            replica = next(iter(free))
            del free[replica]
            arrival = self._queue.popleft()
            self._outcome.waits.append(now - arrival.at)
            replica.begin(next(self._serials), arrival, now)
            self._in_use += 1
            self._rest(replica)

    def _rest(self, replica: _Replica) -> None:
        """Put a replica where it can be found, and foresee its next end."""
        if not replica.is_draining and len(replica.running) < self._fleet.slots:
            self._listed(replica)[replica] = None
        if replica.running:
            heapq.heappush(self._events, (replica.next_end(), next(self._serials), replica.version, replica))

    def _listed(self, replica: _Replica) -> dict[_Replica, None]:
        """Return where a replica is found that runs so many; one without a free slot nowhere."""
        return self._by_load[len(replica.running)] if len(replica.running) < self._fleet.slots else {}

    def _look(self, now: float) -> None:
        """Start replicas where more have been wanted for long enough, and end one where fewer have."""
        fleet = self._fleet
        there = [one for one in self._replicas if not one.is_draining]
        wanted = math.ceil((self._in_use + len(self._queue)) / fleet.target)
        wanted = min(fleet.most, max(fleet.least, wanted))
        self._wants_more_since = min(self._wants_more_since, now) if wanted > len(there) else math.inf
        self._wants_fewer_since = min(self._wants_fewer_since, now) if wanted < len(there) else math.inf
        if now - self._wants_more_since >= fleet.upscale_seconds:
            for _ in range(wanted - len(there)):
                self._start(now, now + fleet.start_seconds)
            self._wants_more_since = math.inf
        elif now - self._wants_fewer_since >= fleet.downscale_seconds:
            for replica in sorted(there, key=lambda one: (len(one.running), one.began))[: len(there) - wanted]:
                self._drain(replica, now)
            self._wants_fewer_since = math.inf

    def _start(self, now: float, ready_at: float) -> None:
        replica = _Replica(self._speed, now)
        self._replicas.add(replica)
        self._outcome.most = max(self._outcome.most, len(self._replicas))
        heapq.heappush(self._events, (ready_at, next(self._serials), replica.version, replica))

    def _drain(self, replica: _Replica, now: float) -> None:
        replica.is_draining = True
        self._listed(replica).pop(replica, None)
        if not replica.running:
            self._remove(replica, now)

    def _remove(self, replica: _Replica, now: float) -> None:
        self._replicas.discard(replica)
        self._outcome.replica_seconds += now - replica.began
        self._outcome.busy_seconds += replica.busy_seconds
