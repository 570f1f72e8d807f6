"""Whether answers came slower, beyond what the same machine does from one time to the next."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dmrc.comparison.answers import Said
from dmrc.comparison.differences import AnswerDifference

Pair = tuple[Said, Said]
"""An answer of then, and the one of now."""

_SLOWER_ALONE = 1.5
_SLOWER_IN_ALL = 1.25
_FEW = 3
_ABOUT_AS_LONG = 1.1
_ENOUGH_TOKENS = 8


@dataclass(frozen=True, slots=True)
class _Measure:
    """One way in which an answer can be slower."""

    name: str
    of: Callable[[Said], float | None]
    least: float
    """What is less than this, in milliseconds, nobody notices."""


def _token_ms(said: Said) -> float | None:
    if not said.tokens_per_second or (said.tokens or 0) < _ENOUGH_TOKENS:
        return None
    return 1000 / said.tokens_per_second


_MEASURES = (
    _Measure("first token", lambda said: said.first_token_ms, 100.0),
    _Measure("whole answer", lambda said: said.answer_ms, 250.0),
    _Measure("token", _token_ms, 5.0),
)


def slower(pairs: Sequence[Pair | None]) -> list[AnswerDifference | None]:
    """Return for each pair whether now is slower; None for a pair leaves it out, as one that failed.

    One is slower where it took half as long again, and all of them together a quarter: a machine that was busy for a
    moment is nothing to tell. Answers for which the model was loaded are not compared, and neither are first tokens of
    prompts that the engine had in its cache then and not now, nor whole answers of another length.
    """
    compared = [[_values(measure, pair) for measure in _MEASURES] for pair in pairs]
    are_slower = []
    for column in zip(*compared, strict=True):
        ratios = [now / then for values in column if values is not None for then, now in [values]]
        are_slower.append(len(ratios) < _FEW or statistics.median(ratios) >= _SLOWER_IN_ALL)
    return [_slower(row, are_slower) for row in compared]


def _slower(row: Sequence[tuple[float, float] | None], are_slower: Sequence[bool]) -> AnswerDifference | None:
    for measure, values, is_slower in zip(_MEASURES, row, are_slower, strict=True):
        if values is None or not is_slower:
            continue
        then, now = values
        if now >= then * _SLOWER_ALONE and now - then >= measure.least:
            return AnswerDifference("slower", f"{measure.name} took {_written(now)} instead of {_written(then)}")
    return None


def _values(measure: _Measure, pair: Pair | None) -> tuple[float, float] | None:
    if pair is None:
        return None
    then, now = pair
    if then.was_cold or now.was_cold or now.error is not None:
        return None
    if measure.name == "first token" and now.cached_tokens < then.cached_tokens:
        return None
    if measure.name == "whole answer" and (now.tokens or 0) > (then.tokens or 0) * _ABOUT_AS_LONG:
        return None
    before, after = measure.of(then), measure.of(now)
    return (before, after) if before and after else None


def _written(ms: float) -> str:
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"
