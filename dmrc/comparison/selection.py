"""The last requests of an application, out of the record."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter
from dmrc.comparison.sendable import LeftOut, Sendable, is_of_a_diff, sendable
from dmrc.exchange import Exchange

_PAGE = 200


def select(
    database: ExchangeDatabase, query: ExchangeFilter, last: int, *, with_redacted: bool = False
) -> tuple[list[Sendable], list[LeftOut]]:
    """Return the last requests that a filter shows, the oldest first, and those of them that cannot be sent again.

    What `dmrc diff` itself asked is none of an application's, and does not count.
    """
    found = list(islice(_of_applications(database, query), last))[::-1]
    read = [sendable(database.get(one.id), with_redacted=with_redacted) for one in found]
    return [one for one in read if isinstance(one, Sendable)], [one for one in read if isinstance(one, LeftOut)]


def _of_applications(database: ExchangeDatabase, query: ExchangeFilter) -> Iterator[Exchange]:
    """Yield them without content, the newest first."""
    before: str | None = None
    while page := database.page(query, _PAGE, before):
        yield from (exchange for exchange in page if not is_of_a_diff(exchange))
        before = page[-1].id
