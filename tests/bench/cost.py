"""What each gateway costs before an engine that computes nothing: processor time per chunk and per small request.

`DMRC_BENCH_ONLY=chunk` or `request` measures one of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench import _processor
from tests.bench._before_synthetic import synthetic_gateways
from tests.bench._gateways import BASELINE, MODEL_RUNNER, Compared, Gateway, in_rounds
from tests.bench.figure import Figure

_CHUNK = {"stream": True, "max_tokens": 400, "rate": 100}
_REQUESTS = 250
_BARS = {"chunk": {BASELINE: 0.5, MODEL_RUNNER: 1.0}, "request": {BASELINE: 0.55}}
_RATE = Compared(name="small requests a second, 16 connections", unit="/s", bars={BASELINE: 2.0}, better="higher")


@dataclass(frozen=True, slots=True)
class _Cost:
    microseconds: float
    instructions: float | None
    per_second: float


def measure() -> list[Figure]:
    """Measure the gateways in turn, and compare in each round: the machine of another run is another machine."""
    only = os.environ.get("DMRC_BENCH_ONLY", "chunk,request").split(",")
    if not _processor.counts_instructions():
        print("cost: perf counts no instructions on this machine, so processor time alone is told", file=sys.stderr)
    figures: list[Figure] = []
    with synthetic_gateways() as gateways:
        if "chunk" in only:
            figures += _figures("a chunk, 16 streams, 1,600 chunks/s", _BARS["chunk"], in_rounds(gateways, _chunk))
        if "request" in only:
            requests = in_rounds(gateways, _request)
            figures += _figures("a small request, 16 connections", _BARS["request"], requests)
            figures += _RATE.figures({name: [one.per_second for one in costs] for name, costs in requests.items()})
    return figures


def _chunk(gateway: Gateway) -> _Cost:
    with _processor.used(gateway.pid) as used:
        seen = gateway.ask(_CHUNK, connections=16)
    return _cost(used, seen.chunks, seen.seconds)


def _request(gateway: Gateway) -> _Cost:
    with _processor.used(gateway.pid) as used:
        seen = gateway.ask({}, connections=16, requests=_REQUESTS)
    return _cost(used, len(seen.total_ms), seen.seconds)


def _cost(used: _processor.Used, count: int, seconds: float) -> _Cost:
    instructions = None if used.instructions is None else used.instructions / count
    return _Cost(used.seconds / count * 1e6, instructions, count / seconds)


def _figures(what: str, bars: dict[str, float], found: dict[str, list[_Cost]]) -> list[Figure]:
    times = {name: [one.microseconds for one in costs] for name, costs in found.items()}
    figures = Compared(name=f"processor time of {what}", unit="µs", bars=bars).figures(times)
    counts = {name: _counted(costs) for name, costs in found.items()}
    if all(counts.values()):
        figures += Compared(name=f"thousand instructions of {what}", unit="k", bars={}).figures(counts)
    return figures


def _counted(costs: Sequence[_Cost]) -> list[float]:
    return [one.instructions / 1000 for one in costs if one.instructions is not None]
