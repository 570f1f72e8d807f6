"""All that a comparison found: rows, the worst first, and what they come to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.capture.summary import model_name, short_id
from dmrc.comparison.answers import Said
from dmrc.comparison.differences import DIFFERENCES, AnswerDifference, DifferenceKind, differences
from dmrc.comparison.sendable import LeftOut, Sendable
from dmrc.comparison.similarity import likeness
from dmrc.comparison.speed import slower
from dmrc.exchange import Exchange, JsonValue
from dmrc.figures import span_text


@dataclass(frozen=True, slots=True)
class Compared:
    """One request with both answers."""

    sent: Sendable
    """The request, with the answer of then."""
    again: Exchange
    """The answer of now."""
    then: Said
    """What the first says."""
    now: Said
    """What the other says."""
    differences: tuple[AnswerDifference, ...]
    """What is different, the worst first."""

    @property
    def worst(self) -> DifferenceKind | None:
        """Return what is worst; None where nothing is different."""
        return self.differences[0].kind if self.differences else None

    @property
    def is_regression(self) -> bool:
        """Return whether more is different than the words."""
        return any(one.kind != "text" for one in self.differences)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the answers of one side come to."""

    p50_ms: float | None
    """Median time of an answer, without waiting, and without those that a model was loaded or warmed up for."""
    p95_ms: float | None
    """Time that 95 of 100 of these need at most."""
    tokens: int
    """Generated, by all."""

    @classmethod
    def of(cls, answers: Sequence[Said], timed: Sequence[Said]) -> Numbers:
        """Return those of these answers, the times of `timed` alone."""
        times = sorted(said.answer_ms for said in timed if said.answer_ms is not None)
        return cls(_rank(times, 0.5), _rank(times, 0.95), sum(said.tokens or 0 for said in answers))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of sending requests again."""

    rows: tuple[Compared, ...]
    """The worst first; of those that are alike in this the oldest."""
    left_out: tuple[LeftOut, ...]
    """Requests that were not sent, or whose answer was not recorded."""
    not_sent: int
    """Requests that were not sent any more, since somebody interrupted it."""
    then: Numbers
    """Of the answers of then."""
    now: Numbers
    """Of the answers of now."""
    untimed: str | None = None
    """Why no answer is called slower, in words: the times tell of something else. None: they are compared."""

    @classmethod
    def of(
        cls,
        answered: Sequence[tuple[Sendable, Exchange]],
        left_out: Sequence[LeftOut] = (),
        not_sent: int = 0,
        untimed: str | None = None,
    ) -> Comparison:
        """Compare; the pairs are in the order in which they were sent."""
        gone = [
            LeftOut(sent.then, "has an answer that was not recorded")
            for sent, again in answered
            if again.error_type is None and (again.status or 0) < 400 and not again.response_body
        ]
        ids = {one.then.id for one in gone}
        whole = [(sent, again) for sent, again in answered if sent.then.id not in ids]
        said = [(Said.of(sent.then), Said.of(again)) for sent, again in whole]
        firsts = _firsts([again for _, again in whole])
        counted = [None if number in firsts else pair for number, pair in enumerate(said)]
        rows = []
        late_ones = slower(counted if untimed is None else [None] * len(counted))
        for (sent, again), (then, now), late in zip(whole, said, late_ones, strict=True):
            found = [*differences(then, now, sent.form), *([late] if late else [])]
            found.sort(key=lambda one: DIFFERENCES.index(one.kind))
            rows.append(Compared(sent, again, then, now, tuple(found)))
        rows.sort(key=lambda row: (DIFFERENCES.index(row.worst) if row.worst else len(DIFFERENCES), row.sent.then.id))
        timed = [pair for pair in counted if pair and not any(one.was_cold or one.error for one in pair)]
        both = [pair for pair in said if not any(one.error for one in pair)]
        then_in_all, now_in_all = (
            Numbers.of([pair[side] for pair in both], [pair[side] for pair in timed]) for side in (0, 1)
        )
        return cls(tuple(rows), (*left_out, *gone), not_sent, then_in_all, now_in_all, untimed)

    def counts(self) -> dict[DifferenceKind, int]:
        """Return for each kind how many requests have a difference of it, the worst first; none is left out."""
        found = Counter(kind for row in self.rows for kind in {one.kind for one in row.differences})
        return {kind: found[kind] for kind in DIFFERENCES if found[kind]}

    @property
    def regressions(self) -> int:
        """Return how many answers are worse, and not only in other words."""
        return sum(row.is_regression for row in self.rows)

    def reasons(self) -> dict[str, int]:
        """Return why requests were left out, and how many for each reason, the commonest first."""
        return dict(Counter(one.why for one in self.left_out).most_common())

    def summary(self) -> list[str]:
        """Return what it comes to, in lines."""
        same = sum(not row.differences for row in self.rows)
        counts = [f"{count} {kind}" for kind, count in self.counts().items() if kind != "text"]
        words = sum(row.worst == "text" for row in self.rows)
        worse = f"{self.regressions} worse" + (f" ({', '.join(counts)})" if counts else "")
        lines = [f"{len(self.rows)} compared: {worse}, {words} in other words, {same} the same"]
        lines.append(
            f"answers: p50 {span_text(self.then.p50_ms) or '-'} then, {span_text(self.now.p50_ms) or '-'} now;"
            f" p95 {span_text(self.then.p95_ms) or '-'} then, {span_text(self.now.p95_ms) or '-'} now;"
            f" {self.then.tokens} tokens then, {self.now.tokens} now"
        )
        if self.untimed is not None:
            lines.append(f"{self.untimed}: no answer is called slower")
        if self.not_sent:
            lines.append(f"interrupted: {self.not_sent} were not sent")
        if self.left_out:
            lines.append(f"{len(self.left_out)} left out:")
            lines += [f"  {why}: {count}" for why, count in self.reasons().items()]
        return lines

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as JSON can hold it."""
        return {
            "compared": len(self.rows),
            "regressions": self.regressions,
            "counts": {str(kind): count for kind, count in self.counts().items()},
            "not_sent": self.not_sent,
            "untimed": self.untimed,
            "left_out": {**self.reasons()},
            "then": _numbers(self.then),
            "now": _numbers(self.now),
            "requests": [_row(row) for row in self.rows],
            "left_out_requests": [{"id": one.then.id, "why": one.why} for one in self.left_out],
        }


def _firsts(answers: Sequence[Exchange]) -> set[int]:
    """Return the places of the first answer of each model, where there are others: an engine warms up by it."""
    seen: dict[str | None, int] = {}
    for number, exchange in enumerate(answers):
        seen.setdefault(exchange.model_key, number)
    return set(seen.values()) if len(answers) > len(seen) else set()


def _rank(times: Sequence[float], share: float) -> float | None:
    """Return the nearest rank: the least time that so many of all need at most."""
    return times[max(0, math.ceil(share * len(times)) - 1)] if times else None


def _numbers(one: Numbers) -> dict[str, JsonValue]:
    return {"p50_ms": _rounded(one.p50_ms), "p95_ms": _rounded(one.p95_ms), "tokens": one.tokens}


def _row(row: Compared) -> dict[str, JsonValue]:
    then = row.sent.then
    return {
        "id": then.id,
        "diff_id": row.again.id,
        "project": then.project,
        "service": then.service,
        "differences": [{"kind": one.kind, "words": one.words} for one in row.differences],
        "likeness": round(likeness(row.then.text, row.now.text), 3),
        "then": _answer(row.then, then),
        "now": _answer(row.now, row.again),
    }


def _answer(said: Said, exchange: Exchange) -> dict[str, JsonValue]:
    return {
        "model": exchange.model_reference,
        "error": said.error,
        "texts": list(said.texts),
        "calls": [{"name": call.name, "arguments": call.arguments} for call in said.calls],
        "finish_reason": said.finish_reason,
        "tokens": said.tokens,
        "first_token_ms": _rounded(said.first_token_ms),
        "answer_ms": _rounded(said.answer_ms),
        "tokens_per_second": _rounded(said.tokens_per_second),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def title(row: Compared) -> tuple[str, str, str]:
    """Return the short id of a request, whose it is, and by which model it was answered: `a1b2c3d4`, `api`, `llm`."""
    then = row.sent.then
    who = then.service or then.project or "-"
    return short_id(then.id), who, then.model_key or model_name(then.model_reference)
