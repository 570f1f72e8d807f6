"""What is left of a model's speed when another program keeps a core busy, as the containers of a project may."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.figure import Figure
from tests.bench.gateway import in_turn, real_dmrc, tokens_per_second

_STREAMS = 4
_TOKENS = 48


def measure() -> list[Figure]:
    """Measure with and without the other program, in turn."""
    with real_dmrc() as real:

        def speed() -> float:
            return tokens_per_second(real.story(real.recorded, streams=_STREAMS, tokens=_TOKENS))

        def crowded() -> float:
            with _busy_core():
                return speed()

        pairs = in_turn(crowded, speed, 3)
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    return [
        Figure(
            name=f"tokens/s beside a program that keeps one core busy, against alone, {_STREAMS} streams",
            value=ratios[1],
            unit="×",
            better="higher",
            ours=f"{sorted(ours for ours, _ in pairs)[1]:.0f} tok/s",
            theirs=f"{sorted(theirs for _, theirs in pairs)[1]:.0f} tok/s",
            runs=len(pairs),
        )
    ]


@contextmanager
def _busy_core() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            yield
        finally:
            busy.kill()
