"""A gateway that runs, and what a run of the benchmarks compares it with.

`DMRC_BENCH_BASELINE` names the directory of an older checkout with its `.venv`; `DMRC_BENCH_MODEL_RUNNER` and
`DMRC_BENCH_LLAMA_SWAP` the programs of Docker Model Runner's server and of llama-swap, built outside the repository;
`DMRC_BENCH_PAIRS` how many rounds a median is of, 5 by default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal, TypeVar

from tests.bench._load import Load, Loaded, run
from tests.bench.figure import Figure

_T = TypeVar("_T")

OURS = "dmrc"
BASELINE = "the older build"
MODEL_RUNNER = "Docker Model Runner"
LLAMA_SWAP = "llama-swap"
ROUNDS = int(os.environ.get("DMRC_BENCH_PAIRS", "5"))


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """One that runs, and has answered already."""

    name: str
    """How the figures call it."""
    pid: int
    """Its main process."""
    load: Load
    """How to ask it."""

    def ask(self, more: Mapping[str, object], *, connections: int = 1, requests: int = 1, spread: float = 0) -> Loaded:
        """Ask for chats with these fields more, and fail where one of them fails."""
        body = {**self.load.body, **more}
        asked = replace(self.load, body=body, connections=connections, requests=requests, spread_seconds=spread)
        seen = run(asked)
        assert not seen.failed, f"{seen.failed} requests failed at {self.name}"
        return seen


def baseline() -> Path | None:
    """Return the directory of the older checkout, where one is given."""
    given = os.environ.get("DMRC_BENCH_BASELINE")
    return Path(given).resolve(strict=True) if given else None


def in_rounds(
    gateways: Sequence[Gateway], measured: Callable[[Gateway], _T], *, warm_up: bool = True, rounds: int = ROUNDS
) -> dict[str, list[_T]]:
    """Return what was measured of each gateway, round by round; who goes first changes, and a first round warms up."""
    found: dict[str, list[_T]] = {gateway.name: [] for gateway in gateways}
    for number in range(-1 if warm_up else 0, rounds):
        turn = number % len(gateways)
        for gateway in (*gateways[turn:], *gateways[:turn]):
            one = measured(gateway)
            if number >= 0:
                found[gateway.name].append(one)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How the measurements of the gateways become figures."""

    name: str
    """What was measured."""
    unit: str
    """Of one measurement."""
    bars: Mapping[str, float]
    """What the ratio to another gateway must reach, by the name of that one."""
    better: Literal["lower", "higher"] = "lower"
    """As in `Figure`."""

    def figures(self, found: Mapping[str, Sequence[float]]) -> list[Figure]:
        """Return our own figure, and for each of the others the ratio of each round."""
        ours = found[OURS]
        figures = [Figure(name=self.name, value=median(ours), unit=self.unit, better=self.better, runs=len(ours))]
        for name, theirs in found.items():
            if name == OURS:
                continue
            ratio = Figure(
                name=f"  against {name}",
                value=median(one / other for one, other in zip(ours, theirs, strict=True)),
                unit="×",
                bar=self.bars.get(name),
                better=self.better,
                ours=self._told(ours),
                theirs=self._told(theirs),
                runs=len(ours),
            )
            figures.append(ratio)
        return figures

    def _told(self, values: Sequence[float]) -> str:
        return f"{median(values):.4g} {self.unit}"
