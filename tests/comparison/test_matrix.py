"""A matrix of several comparisons: the worst first, and nothing of the texts."""

from __future__ import annotations

from dmrc.comparison.comparison import Comparison
from dmrc.comparison.matrix import MatrixColumn, regressions_first
from dmrc.exchange import Exchange
from tests.comparison.exchanges import exchange, sent

SAME, WORDS, TOOLS, ERROR = "Blue.", "It is a deep blue.", "tools", "error"


def answer(kind: str) -> Exchange:
    if kind == ERROR:
        return exchange(None, status=500, error_type="server_error", error_message="out of memory")
    return exchange(None, calls=[("paint", "{}")]) if kind == TOOLS else exchange(kind)


def columns(*answers: tuple[str, ...]) -> tuple[list[str], list[MatrixColumn]]:
    """Return the ids of requests and a column for each target; `answers` has those of one target each."""
    asked = [sent(exchange()) for _ in answers[0]]
    found = [
        MatrixColumn.of(Comparison.of([(one, answer(kind)) for one, kind in zip(asked, kinds, strict=True)]))
        for kinds in answers
    ]
    return [one.then.id for one in asked], found


def test_a_column_says_how_many_are_worse_in_other_words_and_the_same() -> None:
    _, (column,) = columns((SAME, WORDS, TOOLS, ERROR, SAME))

    assert (column.worse, column.other_words, column.same) == (2, 1, 2)
    assert [cell.kind for cell in column.cells.values()] == ["error", "tools", "text", "same", "same"]


def test_requests_are_ordered_by_their_worst_answer_of_all_targets() -> None:
    ids, both = columns((SAME, WORDS, SAME, TOOLS), (SAME, SAME, ERROR, WORDS))

    assert regressions_first(ids, both) == [ids[2], ids[3], ids[1], ids[0]]


def test_of_those_that_are_as_bad_the_one_that_more_targets_do_worse_is_first() -> None:
    ids, both = columns((TOOLS, TOOLS), (SAME, TOOLS))

    assert regressions_first(ids, both) == [ids[1], ids[0]]


def test_a_cell_says_time_tokens_and_likeness() -> None:
    ids, (column,) = columns((WORDS,))

    cell = column.cells[ids[0]]
    assert (cell.then_ms, cell.now_ms, cell.then_tokens, cell.now_tokens) == (399.0, 399.0, 10, 10)
    assert 0 < cell.likeness < 1
    assert not cell.is_regression


def test_what_was_answered_and_not_recorded_has_no_cell_and_says_why() -> None:
    asked = sent(exchange())

    column = MatrixColumn.of(Comparison.of([(asked, exchange(response_body=b""))]))

    assert column.cells == {}
    assert column.unread == {asked.then.id: "has an answer that was not recorded"}
