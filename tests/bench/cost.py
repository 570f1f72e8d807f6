"""What each gateway costs before an engine that computes nothing: processor time per chunk and per small request."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench import _processor
from tests.bench._gateways import BASELINE, OURS, Gateway, synthetic_gateways
from tests.bench.figure import Figure

ROUNDS = int(os.environ.get("DMRC_BENCH_PAIRS", "5"))
_CHUNKS = {"stream": True, "max_tokens": 400, "rate": 100}
_REQUESTS = 250


@dataclass(frozen=True, slots=True)
class _Cost:
    microseconds: float
    instructions: float | None
    per_second: float


def measure() -> list[Figure]:
    """Measure the gateways in turn, and compare in each round: what one run says of another run's machine is noise."""
    if not _processor.counts_instructions():
        print("cost: perf counts no instructions on this machine, so only processor time is told", file=sys.stderr)
    with synthetic_gateways() as gateways:
        chunks = _in_rounds(gateways, _chunk)
        requests = _in_rounds(gateways, _request)
    return [
        *_figures("a chunk, 16 streams, 1,600 chunks/s", chunks, {BASELINE: 0.5, "Docker Model Runner": 1.0}),
        *_figures("a small request, 16 connections", requests, {BASELINE: 0.55}),
        *_rates(requests),
    ]


def _in_rounds(gateways: Sequence[Gateway], measured: Callable[[Gateway], _Cost]) -> dict[str, list[_Cost]]:
    """Return each gateway's costs, round by round; another one goes first each time, and the first round warms up."""
    found: dict[str, list[_Cost]] = {gateway.name: [] for gateway in gateways}
    for number in range(-1, ROUNDS):
        turn = number % len(gateways)
        for gateway in (*gateways[turn:], *gateways[:turn]):
            cost = measured(gateway)
            if number >= 0:
                found[gateway.name].append(cost)
    return found


def _chunk(gateway: Gateway) -> _Cost:
    with _processor.used(gateway.pid) as used:
        seen = gateway.ask(_CHUNKS, connections=16)
    return _cost(used, seen.chunks, seen.seconds)


def _request(gateway: Gateway) -> _Cost:
    with _processor.used(gateway.pid) as used:
        seen = gateway.ask({}, connections=16, requests=_REQUESTS)
    return _cost(used, len(seen.total_ms), seen.seconds)


def _cost(used: _processor.Used, count: int, seconds: float) -> _Cost:
    instructions = None if used.instructions is None else used.instructions / count
    return _Cost(used.seconds / count * 1e6, instructions, count / seconds)


def _figures(what: str, costs: dict[str, list[_Cost]], bars: dict[str, float]) -> list[Figure]:
    ours = costs[OURS]
    own = median(one.microseconds for one in ours)
    figures = [Figure(name=f"processor time of {what}", value=own, unit="µs", runs=ROUNDS)]
    if all(one.instructions is not None for one in ours):
        counted = median(one.instructions or 0 for one in ours)
        figures.append(Figure(name=f"instructions of {what}", value=counted / 1000, unit="k", runs=ROUNDS))
    for name, theirs in costs.items():
        if name == OURS:
            continue
        figures.append(
            Figure(
                name=f"processor time of {what}, against {name}",
                value=median(one.microseconds / other.microseconds for one, other in zip(ours, theirs, strict=True)),
                unit="×",
                bar=bars.get(name),
                ours=f"{own:.1f} µs",
                theirs=f"{median(one.microseconds for one in theirs):.1f} µs",
                runs=ROUNDS,
            )
        )
    return figures


def _rates(costs: dict[str, list[_Cost]]) -> list[Figure]:
    ours = costs[OURS]
    own = median(one.per_second for one in ours)
    figures = [Figure(name="small requests a second, 16 connections", value=own, unit="/s", better="higher")]
    for name, theirs in costs.items():
        if name != OURS:
            figures.append(
                Figure(
                    name=f"small requests a second, 16 connections, against {name}",
                    value=median(one.per_second / other.per_second for one, other in zip(ours, theirs, strict=True)),
                    unit="×",
                    bar=2 if name == BASELINE else None,
                    better="higher",
                    ours=f"{own:.0f} /s",
                    theirs=f"{median(one.per_second for one in theirs):.0f} /s",
                    runs=ROUNDS,
                )
            )
    return figures
