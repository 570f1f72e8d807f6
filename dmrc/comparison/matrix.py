"""Requests that were sent to several models: what each answer is worth beside the one of then, in a line.

A matrix holds no texts: these are in the record, where a cell is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dmrc.comparison.comparison import Compared, Comparison, Numbers
from dmrc.comparison.differences import DIFFERENCES, AnswerDifference, DifferenceKind
from dmrc.comparison.similarity import likeness

CellKind = DifferenceKind | Literal["same"]
"""What is worst in an answer, or that nothing is."""


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """One answer of now, beside the one of then."""

    again_id: str
    """Of the exchange of now."""
    differences: tuple[AnswerDifference, ...]
    """What is different, the worst first."""
    likeness: float | None
    """How alike the words are, 0 to 1; None where one of the answers has none."""
    then_ms: float | None
    """How long the answer of then took, without waiting for the model and for a slot."""
    now_ms: float | None
    """The same of now."""
    then_tokens: int | None
    """Generated then."""
    now_tokens: int | None
    """Generated now."""

    @classmethod
    def of(cls, row: Compared) -> MatrixCell:
        """Take what a matrix shows of a comparison's row."""
        then, now = row.then, row.now
        return cls(
            again_id=row.again.id,
            differences=row.differences,
            likeness=likeness(then.text, now.text) if then.text and now.text else None,
            then_ms=then.answer_ms,
            now_ms=now.answer_ms,
            then_tokens=then.tokens,
            now_tokens=now.tokens,
        )

    @property
    def kind(self) -> CellKind:
        """Return what is worst."""
        return self.differences[0].kind if self.differences else "same"

    @property
    def is_regression(self) -> bool:
        """Return whether more is different than the words."""
        return any(one.kind != "text" for one in self.differences)


@dataclass(frozen=True, slots=True)
class MatrixColumn:
    """What one model answered to all of them."""

    cells: Mapping[str, MatrixCell]
    """By the id of the request; one that was not answered has none."""
    then: Numbers
    """Of the answers of then."""
    now: Numbers
    """Of the answers of now."""
    unread: Mapping[str, str]
    """Why a request that was answered has no cell, by its id."""
    untimed: str | None
    """Why no answer is called slower; None: the times are compared."""

    @classmethod
    def of(cls, report: Comparison) -> MatrixColumn:
        """Take what a matrix shows of a comparison."""
        return cls(
            cells={row.sent.then.id: MatrixCell.of(row) for row in report.rows},
            then=report.then,
            now=report.now,
            unread={one.then.id: one.why for one in report.left_out},
            untimed=report.untimed,
        )

    @property
    def worse(self) -> int:
        """Return how many answers are worse, and not only in other words."""
        return sum(cell.is_regression for cell in self.cells.values())

    @property
    def other_words(self) -> int:
        """Return how many say it in other words."""
        return sum(cell.kind == "text" for cell in self.cells.values())

    @property
    def same(self) -> int:
        """Return how many are the same."""
        return sum(cell.kind == "same" for cell in self.cells.values())


def regressions_first(ids: Sequence[str], columns: Iterable[MatrixColumn]) -> list[str]:
    """Return the requests with the worst first, by their worst cell and then by how many are worse; else in order."""
    columns = list(columns)

    def rank(id: str) -> tuple[int, int]:
        cells = [cell for column in columns if (cell := column.cells.get(id)) is not None]
        kinds = [DIFFERENCES.index(cell.kind) for cell in cells if cell.kind != "same"]
        return min(kinds, default=len(DIFFERENCES)), -sum(cell.is_regression for cell in cells)

    return sorted(ids, key=rank)
