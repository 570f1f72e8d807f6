"""Requests that are sent again: in which order, and the report of what was answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from dmrc.capture.database import ExchangeDatabase
from dmrc.comparison.changes import Answerer, source_of
from dmrc.comparison.comparison import Comparison
from dmrc.comparison.sendable import LeftOut, Sendable
from dmrc.comparison.sending import Answered, Repetition
from dmrc.errors import NotFoundError


def by_model(chosen: Sequence[Sendable], keys: Mapping[Answerer, str]) -> list[tuple[str, list[Repetition]]]:
    """Return what to send, model after model, so that each is loaded once; the order of each stays.

    `keys` have the key of the model that answers now for each source.
    """
    orders = sorted((Repetition(sent, keys[source_of(sent)]) for sent in chosen), key=lambda order: order.model)
    return [(model, list(of_model)) for model, of_model in groupby(orders, lambda order: order.model)]


def report(
    database: ExchangeDatabase,
    answered: Sequence[Answered],
    left_out: Sequence[LeftOut] = (),
    not_sent: int = 0,
    untimed: str | None = None,
) -> Comparison:
    """Read what was answered out of the record, and compare. It blocks; what was recorded must be on disk."""
    pairs, lost = [], []
    for one in answered:
        try:
            pairs.append((one.sent, database.get(one.id)))
        except NotFoundError:
            lost.append(LeftOut(one.sent.then, "has an answer that was not recorded"))
    return Comparison.of(pairs, [*left_out, *lost], not_sent, untimed)
