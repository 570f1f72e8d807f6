"""How much later each gateway answers than the engine itself, and how many chunks it passes on at most."""

from __future__ import annotations

from statistics import median, quantiles

from tests.bench._before_synthetic import synthetic_alone, synthetic_gateways
from tests.bench._gateways import BASELINE, Compared, Gateway, in_rounds
from tests.bench.figure import Figure

_SMALL = 400
_POURED = {"stream": True, "max_tokens": 20_000}
_SLOW = {"stream": True, "max_tokens": 6, "rate": 1}
_SLOW_STREAMS = 1000
_SLOW_SPREAD_SECONDS = 5.0
_POUR = Compared(name="chunks a second, flat out, 8 streams", unit="/s", bars={BASELINE: 1.0}, better="higher")


def measure() -> list[Figure]:
    """Measure the gateways and the engine in turn: all three are times, which other work on the machine lengthens."""
    with synthetic_gateways() as gateways, synthetic_alone() as engine:
        small = in_rounds([*gateways, engine], _small_ms)
        slow = in_rounds([*gateways, engine], _slow_ms, warm_up=False)
        poured = in_rounds(gateways, _poured)
    return [
        *_later("added to a small request, one connection, p50", 0.4, small, engine.name),
        *_later("1,000 slow streams, first chunk later than the engine's, p99", 50, slow, engine.name),
        *_POUR.figures(poured),
    ]


def _small_ms(gateway: Gateway) -> float:
    return median(gateway.ask({}, requests=_SMALL).total_ms)


def _slow_ms(gateway: Gateway) -> float:
    """Return the 99th of a hundred; all run at the same time before the first has ended."""
    seen = gateway.ask(_SLOW, connections=_SLOW_STREAMS, spread=_SLOW_SPREAD_SECONDS)
    return quantiles(seen.first_ms, n=100)[-1]


def _poured(gateway: Gateway) -> float:
    seen = gateway.ask(_POURED, connections=8)
    return seen.chunks / seen.seconds


def _later(what: str, bar: float, found: dict[str, list[float]], engine: str) -> list[Figure]:
    """Return how much later each answers than the engine in the same round; the bar is for ours."""
    direct = found.pop(engine)
    figures = []
    for number, (name, through) in enumerate(found.items()):
        figures.append(
            Figure(
                name=what if number == 0 else f"  the same by {name}",
                value=median(one - other for one, other in zip(through, direct, strict=True)),
                unit="ms",
                bar=bar if number == 0 else None,
                ours=f"{median(through):.3g} ms",
                theirs=f"{median(direct):.3g} ms",
                runs=len(direct),
            )
        )
    return figures
