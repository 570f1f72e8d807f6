"""What was asked of a model, out of a record: when, how much, and how fast it was."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter
from dmrc.exchange import Exchange
from tests.bench._simulation import Arrival, Speed

_PAGE = 1000
_USUAL_PROMPT_WEIGHT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request that was answered."""

    at: float
    """Unix second in which it came."""
    who: str
    """Project and service."""
    prompt_tokens: int
    """Tokens of the prompt that were computed: what the engine had already is not among them."""
    completion_tokens: int
    """Tokens generated."""
    wait: float
    """Seconds in the queue."""
    load: float
    """Seconds that it waited for the model to load; near 0 when it was loaded."""
    run: float
    """Seconds on the engine."""
    prompt_rate: float | None
    """Tokens of the prompt in a second, by the engine."""
    completion_rate: float | None
    """Tokens generated in a second, likewise."""

    @property
    def begins(self) -> float:
        """Return the Unix second in which the engine got it."""
        return self.at + self.load + self.wait


def read(home: Path, longest: int = 200_000) -> dict[str, list[Asked]]:
    """Return what each model answered, by its reference, in the order of time; of a long record the newest."""
    found: dict[str, list[Asked]] = {}
    with closing(ExchangeDatabase(home / "exchanges.sqlite3")) as database:
        for exchange in _answered(database, longest):
            if (asked := _asked(exchange)) is not None:
                found.setdefault(str(exchange.model_reference), []).append(asked)
    return {model: sorted(each, key=lambda one: one.at) for model, each in found.items()}


def _answered(database: ExchangeDatabase, longest: int) -> Iterator[Exchange]:
    before, left = None, longest
    while left > 0 and (page := database.page(ExchangeFilter(status=(200, 200)), min(_PAGE, left), before)):
        yield from page
        before, left = page[-1].id, left - len(page)


def _asked(exchange: Exchange) -> Asked | None:
    if not exchange.completion_tokens or exchange.total_ms is None or exchange.queue_ms is None:
        return None
    load, wait = (exchange.load_ms or 0.0) / 1000, exchange.queue_ms / 1000
    return Asked(
        at=exchange.received_at,
        who=f"{exchange.project}/{exchange.service}",
        prompt_tokens=max(0, (exchange.prompt_tokens or 0) - (exchange.cached_tokens or 0)),
        completion_tokens=exchange.completion_tokens,
        wait=wait,
        load=load,
        run=max(0.0, exchange.total_ms / 1000 - load - wait),
        prompt_rate=exchange.prompt_tokens_per_second,
        completion_rate=exchange.completion_tokens_per_second,
    )


@dataclass(frozen=True, slots=True)
class Model:
    """What a simulation knows of a model on one replica."""

    speed: Speed
    """How fast it generates."""
    prompt_weight: float
    """What a token of the prompt costs, where one that is generated costs 1."""

    def tokens(self, asked: Asked) -> float:
        """Return what a request costs, in tokens generated."""
        return asked.completion_tokens + self.prompt_weight * asked.prompt_tokens


def learned(asked: Sequence[Asked]) -> Model:
    """Return how fast one replica was that answered all of it, by how many ran beside each other.

    A line is laid through the seconds for a token over the mean number that ran; long requests count for more. Where
    it was always the same number, the record cannot tell: it is said then that all share what one has alone.
    """
    weight = _prompt_weight(asked)
    model = Model(Speed(0.0, 1.0), weight)
    points = [
        (running, one.run / model.tokens(one), model.tokens(one))
        for one, running in zip(asked, beside(asked), strict=True)
    ]
    total = sum(count for _, _, count in points)
    mean_beside = sum(running * count for running, _, count in points) / total
    mean_seconds = sum(seconds * count for _, seconds, count in points) / total
    spread = sum(count * (running - mean_beside) ** 2 for running, _, count in points) / total
    if spread < 0.01:
        return Model(Speed(0.0, mean_seconds / mean_beside), weight)
    slope = sum(count * (running - mean_beside) * (seconds - mean_seconds) for running, seconds, count in points)
    each = min(max(0.0, slope / total / spread), mean_seconds / mean_beside)
    return Model(Speed(mean_seconds - each * mean_beside, each), weight)


def _prompt_weight(asked: Sequence[Asked]) -> float:
    prompts = [one.prompt_rate for one in asked if one.prompt_rate]
    answers = [one.completion_rate for one in asked if one.completion_rate]
    return median(answers) / median(prompts) if prompts and answers else _USUAL_PROMPT_WEIGHT


def beside(asked: Sequence[Asked]) -> list[float]:
    """Return for each how many ran at the same time, itself among them, as the mean over its time."""
    edges = sorted({edge for one in asked for edge in (one.begins, one.begins + one.run)})
    starts = sorted((one.begins, one.begins + one.run) for one in asked)
    ends: list[float] = []
    position, so_far = 0, 0.0
    sums = dict.fromkeys(edges[:1], 0.0)  # until each edge, the seconds of all that ran until then
    for begin, end in pairwise(edges):
        while position < len(starts) and starts[position][0] <= begin:
            heapq.heappush(ends, starts[position][1])
            position += 1
        while ends and ends[0] <= begin:
            heapq.heappop(ends)
        so_far += len(ends) * (end - begin)
        sums[end] = so_far
    return [
        max(1.0, (sums[one.begins + one.run] - sums[one.begins]) / one.run) if one.run > 0 else 1.0 for one in asked
    ]


def arrivals(asked: Sequence[Asked], model: Model) -> list[Arrival]:
    """Return the same requests for a simulation; the first one comes at 0."""
    return [Arrival(one.at - asked[0].at, model.tokens(one)) for one in asked]


def busiest(asked: Sequence[Asked], seconds: float) -> Sequence[Asked]:
    """Return those of the busiest span of so many seconds, by their number; all where the record is shorter."""
    best, first = (0, 0), 0
    for last, one in enumerate(asked):
        while asked[first].at <= one.at - seconds:
            first += 1
        best = max(best, (last + 1 - first, -first))
    return asked[-best[1] : best[0] - best[1]]


def scaled(asked: Sequence[Asked], model: Model, services: int, seconds: float, seed: int = 1) -> list[Arrival]:
    """Return the requests of so many services over so many seconds.

    Each one behaves as one of the recorded services: its requests are drawn from those of that one, each with the time
    that passed before it. So bursts stay, and no two services do the same at the same time.
    """
    chance = random.Random(seed)
    span = asked[-1].at - asked[0].at or 1.0
    of_each: dict[str, list[Asked]] = {}
    for one in asked:
        of_each.setdefault(one.who, []).append(one)
    recorded = []
    for each in of_each.values():
        # The first one follows the last one, as if the record went round.
        before = [each[-1].at - span, *(one.at for one in each)]
        recorded.append([(one.at - earlier, model.tokens(one)) for earlier, one in zip(before, each, strict=False)])
    found = []
    for number in range(services):
        drawn = recorded[number % len(recorded)]
        at = chance.uniform(0, span / len(drawn))
        while at < seconds:
            gap, tokens = chance.choice(drawn)
            found.append(Arrival(at, tokens))
            at += max(gap, 1e-6)
    return sorted(found, key=lambda one: one.at)
