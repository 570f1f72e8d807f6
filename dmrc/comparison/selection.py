"""The last requests of an application, out of the record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter
from dmrc.comparison.sendable import LeftOut, Sendable, is_of_a_diff, sendable
from dmrc.exchange import Exchange
from dmrc.gguf import format_size

_PAGE = 200


def select(
    database: ExchangeDatabase, query: ExchangeFilter, last: int, *, with_redacted: bool = False
) -> tuple[list[Sendable], list[LeftOut]]:
    """Return the last requests that a filter shows, the oldest first, and those of them that cannot be sent again.

    What `dmrc diff` itself asked is none of an application's, and does not count.
    """
    found = list(islice(_of_applications(database, query), last))[::-1]
    return select_ids(database, [one.id for one in found], with_redacted=with_redacted)


def select_ids(
    database: ExchangeDatabase, ids: Iterable[str], *, with_redacted: bool = False, most_bytes: int | None = None
) -> tuple[list[Sendable], list[LeftOut]]:
    """Return those of some requests that can be sent again, in their order, and the others.

    `most_bytes` bounds what the bodies of the first take together; None is no bound.

    Raises:
        NotFoundError: One of them is not in the record.
    """
    chosen: list[Sendable] = []
    left_out: list[LeftOut] = []
    used = 0
    for id in ids:
        exchange = database.get(id)
        size = len(exchange.request_body) + len(exchange.response_body)
        read = sendable(exchange, with_redacted=with_redacted)
        if isinstance(read, LeftOut):
            left_out.append(read)
        elif most_bytes is not None and used + size > most_bytes:
            left_out.append(LeftOut(exchange, f"is beyond the {format_size(most_bytes)} that are compared at once"))
        else:
            used += size
            chosen.append(read)
    return chosen, left_out


def _of_applications(database: ExchangeDatabase, query: ExchangeFilter) -> Iterator[Exchange]:
    """Yield them without content, the newest first."""
    before: str | None = None
    while page := database.page(query, _PAGE, before):
        yield from (exchange for exchange in page if not is_of_a_diff(exchange))
        before = page[-1].id
