"""From 10 services to 1,000: a simulation of queue, replicas and cost, from recorded traffic. Each line says so.

`DMRC_SCALE_HOME` names a state directory whose record is taken. Without it ten services ask the real engine for a
while, and that is the record. `DMRC_SCALE_PRICE` is what an hour of a replica costs, in any currency.

How far the simulation can be believed is measured first: the same requests, closer together, are sent to the real
engine, and what they waited is told beside what the simulation had said.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from tests.bench._simulation import Arrival, Fleet, Outcome, Speed, percentile, simulate
from tests.bench._traffic import Asked, Model, arrivals, beside, busiest, learned, read, scaled
from tests.bench.figure import Figure, LeftOut
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.real_model import smollm2_gguf

_MODEL = "local/smollm2:135M-Q4_1"
_SLOTS = 2
_SERVICES = 10
_REQUESTS = 60
_CALM, _BUSY = 0.45, 0.85
"""Share of what the engine can do that is asked of it: for the record, and for the proof."""
_STEPS = (10, 30, 100, 300, 1000)
_SIMULATED_SECONDS = 1800.0
_PEAK_SECONDS = 3600.0
_DAY_SECONDS = 86400.0
_BEARABLE_SECONDS = 1.0
"""So long 95 of 100 requests are to wait at most."""
_FOLLOWING = Fleet(least=1, upscale_seconds=2.0, downscale_seconds=10.0)
"""How replicas follow the load: as plugins/dmrc-ray has it."""
_COMPOSE = """
name: scale
services:
{services}
models:
  llm:
    model: "{model}"
    context_size: 1024
    x-dmrc: {{{options}}}
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One request to be sent."""

    at: float
    """Second in which it is sent."""
    service: int
    """Number of who sends it, below 10."""
    words: int
    """How long the prompt is."""
    tokens: int
    """How many are to be generated."""


def measure() -> list[Figure]:
    """Prove the simulation on the real engine, and let it tell of more services."""
    named = os.environ.get("DMRC_SCALE_HOME")
    if named is not None and not (Path(named).expanduser() / "exchanges.sqlite3").exists():
        raise LeftOut(f"DMRC_SCALE_HOME is '{named}', which has no record")
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", smollm2_gguf(), _MODEL)
        made, figures = _proved(Replay(dmrc, _MODEL, f"parallel: {_SLOTS}, keep_alive: -1"))
    for reference, asked in (read(Path(named).expanduser()) if named else {_MODEL: made}).items():
        figures += _plan(reference, asked)
    return figures


class Replay:
    """Services with keys of their own, who ask a real dmrc at given times."""

    def __init__(self, dmrc: Dmrc, model: str, options: str) -> None:
        """Serve a model of the store with these options, as they stand in the braces of `x-dmrc`; load it."""
        directory = dmrc.home / "scale"
        directory.mkdir()
        names = [f"service{number}" for number in range(_SERVICES)]
        services = "\n".join(f"  {name}: {{image: none, models: [llm]}}" for name in names)
        compose = _COMPOSE.format(services=services, model=model, options=options)
        (directory / "compose.yaml").write_text(compose)
        told = [json.loads(dmrc.ok("env", name, "--format", "json", cwd=directory)) for name in names]
        self._keys = [str(variables["OPENAI_API_KEY"]) for variables in told]
        self._dmrc = dmrc
        self._model = model
        self.play([Request(0.0, 0, 10, 4)])

    def play(self, requests: Sequence[Request]) -> list[Asked]:
        """Send each request at its time, whatever became of the others, and return what the record says of them."""
        began = time.time()
        asyncio.run(self._send(requests))
        deadline = time.monotonic() + 10
        while True:
            found = [one for each in read(self._dmrc.home).values() for one in each if one.at >= began]
            if len(found) == len(requests):
                return found
            assert time.monotonic() < deadline, f"{len(found)} of {len(requests)} requests are on record"
            time.sleep(0.1)

    async def _send(self, requests: Sequence[Request]) -> None:
        limits = httpx.Limits(max_connections=None)
        url = f"http://127.0.0.1:{self._dmrc.port}/engines/v1"
        async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits, trust_env=False) as client:
            began = time.monotonic()

            async def send(number: int, one: Request) -> None:
                await asyncio.sleep(max(0.0, one.at - (time.monotonic() - began)))
                # What is different comes first: no prompt begins as an earlier one does.
                words = f"{number} {began}: " + "whale " * one.words
                body = {
                    "model": self._model,
                    "messages": [{"role": "user", "content": words}],
                    "max_tokens": one.tokens,
                }
                headers = {"authorization": f"Bearer {self._keys[one.service]}"}
                answer = await client.post(
                    "/chat/completions",
                    json={**body, "stream": True, "ignore_eos": True, "temperature": 0},
                    headers=headers,
                )
                answer.raise_for_status()

            await asyncio.gather(*(send(number, one) for number, one in enumerate(requests)))


def _proved(real: Replay) -> tuple[list[Asked], list[Figure]]:
    """Return a calm record of the real engine, and how well it told what a busy time would be like.

    Three things are told apart: whether the queue is as it is simulated, whether one speed stands for all that time,
    and whether the speed of an earlier time stands for a later one, which other programs of the machine may spoil.
    """
    tried = real.play([Request(at, 0, 60, 28) for at in (0.0, 2.0, 4.0, *(6.0,) * _SLOTS, *(9.0,) * _SLOTS)])
    model = learned(tried)
    rate = _CALM * _capacity(model, _SLOTS) / statistics.mean(map(model.tokens, tried))
    requests = _drawn(rate, random.Random(7))
    calm = real.play(requests)
    busy = real.play([replace(one, at=one.at * _CALM / _BUSY) for one in requests])
    fleet, own = Fleet(slots=_SLOTS), [Arrival(one.at - busy[0].at, one.run) for one in busy]
    figures = _compared("from the time of each on the engine", busy, simulate(own, Speed(1.0, 0.0), fleet))
    for source, known in (("from its speed", learned(busy)), ("from a calmer record", learned(calm))):
        figures += _compared(source, busy, simulate(arrivals(busy, known), known.speed, fleet))
    return calm, figures


def _drawn(rate: float, chance: random.Random) -> list[Request]:
    """Return requests of the services at random times, some of which ask seldom and some often."""
    shares = [1 / (1 + number) for number in range(_SERVICES)]
    at, found = 0.0, []
    for _ in range(_REQUESTS):
        at += chance.expovariate(rate)
        (service,) = chance.choices(range(_SERVICES), shares)
        found.append(Request(at, service, chance.randint(20, 100), chance.randint(8, 48)))
    return found


def _compared(source: str, real: Sequence[Asked], told: Outcome) -> list[Figure]:
    """Return what was simulated as a ratio to what was measured."""
    measured = {"wait": [one.wait for one in real], "whole": [one.wait + one.run for one in real]}
    simulated = {"wait": told.waits, "whole": told.totals}
    return [
        Figure(
            name=f"simulation against the real engine, {source}: {what} p{share}",
            value=max(ours := percentile(simulated[what], share / 100), 1e-3)
            / max(theirs := percentile(measured[what], share / 100), 1e-3),
            unit="×",
            ours=f"{ours:.2f} s simulated",
            theirs=f"{theirs:.2f} s measured, {len(real)} requests",
        )
        for what in measured
        for share in (50, 95)
    ]


def _capacity(model: Model, slots: int) -> float:
    """Return how many tokens a second one replica generates for as many as it takes."""
    return slots / model.speed.seconds_per_token(slots)


def _plan(reference: str, asked: Sequence[Asked]) -> list[Figure]:
    """Return what the traffic of one model needs when there are more services that behave like the recorded ones.

    The busiest hour of the record is what there must be enough replicas for. A replica has as many slots as requests
    were ever served at the same time.
    """
    model, slots = learned(asked), max(1, round(max(beside(asked))))
    peak = busiest(asked, _PEAK_SECONDS)
    load = max([1.0, *(one.load for one in asked)])
    hours = _hours(asked)
    figures = []
    for services in _STEPS:
        traffic = scaled(peak, model, services, _SIMULATED_SECONDS)
        share = sum(one.tokens for one in traffic) / _SIMULATED_SECONDS / _capacity(model, slots)
        fleet, outcome = _least_fleet(traffic, model, Fleet(slots=slots), math.ceil(share))
        most, first = 2 * fleet.least, fleet.least
        more = replace(_FOLLOWING, first=first, most=most, slots=slots, target=slots, start_seconds=load)
        followed = simulate(traffic, model.speed, more)
        daily = sum(max(1, math.ceil(fleet.least * hour)) for hour in hours)
        head = f"simulation: {services:,} services of {reference.rpartition('/')[2]}, {_rate(traffic):.3g} requests/s"
        figures += [
            Figure(
                name=f"{head}: replicas",
                value=fleet.least,
                unit="",
                ours=f"wait {_waits(outcome)}, {100 * share / fleet.least:.0f} % in use",
                theirs=f"one replica: {share:.3g} × what it can do",
            ),
            Figure(
                name=f"{head}: most replicas, where they follow the load",
                value=followed.most,
                unit="",
                ours=f"wait {_waits(followed)}, {followed.replica_seconds / followed.end:.3g} at a time",
            ),
            Figure(
                name=f"{head}: replica-hours in a day",
                value=24 * fleet.least,
                unit="h",
                ours=_price(24 * fleet.least),
                theirs=f"{daily} h{_price(daily)} where they follow the hours of the day" if hours else "",
            ),
        ]
    return figures


def _hours(asked: Sequence[Asked]) -> list[float]:
    """Return what each hour of a day asks, as a share of what the busiest one does; none where the record is short."""
    if asked[-1].at - asked[0].at < _DAY_SECONDS:
        return []
    counts = Counter(int(one.at // 3600 % 24) for one in asked)
    return [counts[hour] / max(counts.values()) for hour in range(24)]


def _rate(traffic: Sequence[Arrival]) -> float:
    return len(traffic) / _SIMULATED_SECONDS


def _least_fleet(traffic: Sequence[Arrival], model: Model, fleet: Fleet, least: int) -> tuple[Fleet, Outcome]:
    """Return the smallest fleet with which the waits can be borne, and what it does; `least` are needed in any case."""

    def tried(replicas: int) -> tuple[Fleet, Outcome]:
        chosen = replace(fleet, least=replicas, most=replicas)
        return chosen, simulate(traffic, model.speed, chosen)

    too_few, enough = max(1, least) - 1, max(1, least)
    while percentile((best := tried(enough))[1].waits, 0.95) > _BEARABLE_SECONDS:
        too_few, enough = enough, math.ceil(enough * 1.2)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if percentile((found := tried(middle))[1].waits, 0.95) > _BEARABLE_SECONDS:
            too_few = middle
        else:
            enough, best = middle, found
    return best


def _waits(outcome: Outcome) -> str:
    return f"{percentile(outcome.waits, 0.5):.2f} s (p50) {percentile(outcome.waits, 0.95):.2f} s (p95)"


def _price(hours: float) -> str:
    """Return what so many hours of a replica cost, where it is known what one costs."""
    price = os.environ.get("DMRC_SCALE_PRICE")
    return f" at {hours * float(price):.2f}" if price else ""
