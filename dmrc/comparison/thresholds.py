"""`--fail-on`: which differences make a comparison fail."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dmrc.comparison.comparison import Comparison, Numbers
from dmrc.comparison.differences import DIFFERENCES
from dmrc.errors import InputError
from dmrc.suggestions import did_you_mean

NUMBERS = ("p50", "p95", "tokens")
"""What may be followed by how much more there may be: `p95+20%`."""

_GROWTH = re.compile(r"([\w-]+)\s*\+\s*(\d+(?:\.\d+)?)\s*%")
_FORMS = (*DIFFERENCES, *(f"{name}+20%" for name in NUMBERS))


@dataclass(frozen=True, slots=True)
class Threshold:
    """What makes a comparison fail."""

    name: str
    """A kind of difference, or a number."""
    percent: float | None = None
    """How much more of the number there may be; None for a kind."""

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """Read `schema` or `p95+20%`.

        Raises:
            InputError: It is neither.
        """
        if text in DIFFERENCES:
            return cls(text)
        match = _GROWTH.fullmatch(text)
        if match is not None and match[1] in NUMBERS:
            return cls(match[1], float(match[2]))
        guess = did_you_mean(text, _FORMS)
        if match is not None:
            guess = did_you_mean(match[1], NUMBERS)
        raise InputError(
            f"--fail-on has '{text}'{guess}, which is neither a difference nor a number",
            remedy=f"Use {', '.join(DIFFERENCES)}, p50+20%, p95+20% or tokens+30%",
        )

    def failure(self, report: Comparison) -> str | None:
        """Return why a comparison fails by it, or None where it does not."""
        if self.percent is None:
            count = next((count for kind, count in report.counts().items() if kind == self.name), 0)
            return f"{self.name}: {count} of {len(report.rows)}" if count else None
        then, now = self._of(report.then), self._of(report.now)
        if not then or now is None or now <= then * (1 + self.percent / 100):
            return None
        unit = "" if self.name == "tokens" else " ms"
        grown = (now / then - 1) * 100
        return f"{self.name}: {now:.0f}{unit}, up from {then:.0f}{unit} (+{grown:.0f} %, above {self.percent:g} %)"

    def _of(self, numbers: Numbers) -> float | None:
        return {"p50": numbers.p50_ms, "p95": numbers.p95_ms, "tokens": numbers.tokens}[self.name]


def thresholds(texts: Iterable[str]) -> list[Threshold]:
    """Read lists with commas between; raises as `Threshold.parse` does."""
    words = (word.strip() for text in texts for word in text.split(","))
    return [Threshold.parse(word) for word in words if word]
