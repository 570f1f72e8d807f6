"""The lens over the record: it reads what was asked when somebody wants to know, and never while a request runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter
from dmrc.exchange import DIFF_SCOPE, REPLAYED, Exchange
from dmrc.lens.former import OPERATIONS, KnownPrompt, former_of, may_be_former
from dmrc.lens.look import LOADING_MS, Between, CacheLook, explained, look_at
from dmrc.lens.reader import PromptReader, UnreadableError
from dmrc.lens.service import ServiceLook

LAST = 200
"""So many requests before one are looked at, and so many of a service."""

_LISTED = 2000
"""Among so many requests services are looked for."""

_MOST_SERVICES = 20


def has_prompt(exchange: Exchange) -> bool:
    """Return whether an engine has read a prompt for a request, as far as the record tells."""
    is_answered = exchange.prompt_tokens is not None or (exchange.status or 0) < 400
    return exchange.operation in OPERATIONS and is_answered and REPLAYED not in exchange.annotations


def look(database: ExchangeDatabase, exchange: Exchange) -> CacheLook | None:
    """Return what the lens sees of one exchange; None where no engine has read a prompt. It blocks: up to a second."""
    if not has_prompt(exchange):
        return None
    earlier = [one for one in _of_service(database, exchange) if may_be_former(one, exchange)]
    reader = PromptReader(database, earlier)
    try:
        now = reader.read(exchange)
    except UnreadableError as reason:
        return CacheLook(exchange=exchange, unread=str(reason))
    return _look(database, reader, now, earlier)


def services(database: ExchangeDatabase, query: ExchangeFilter, last: int = LAST) -> list[ServiceLook]:
    """Return what the lens sees of the last requests of each service and model that a filter shows.

    They are found among the last 2,000 requests, 20 of them at most; the one that computed most again is the first. It
    blocks: up to some seconds.
    """
    groups: dict[tuple[str | None, ...], list[Exchange]] = {}
    for one in database.page(query, _LISTED):
        if has_prompt(one) and not (one.project or "").startswith(DIFF_SCOPE):
            groups.setdefault((one.project, one.service, _model(one)), []).append(one)
    found = [_service(database, group[:last]) for group in list(groups.values())[:_MOST_SERVICES]]
    return sorted(found, key=lambda service: -service.again)


def _service(database: ExchangeDatabase, group: Sequence[Exchange]) -> ServiceLook:
    """Return what the lens sees of the requests of one service, which are given the newest first."""
    reader = PromptReader(database, group)
    looks: list[CacheLook] = []
    for at, exchange in reversed(list(enumerate(group))):
        try:
            now = reader.read(exchange)
        except UnreadableError as reason:
            looks.append(CacheLook(exchange=exchange, unread=str(reason)))
        else:
            looks.append(_look(database, reader, now, group[at + 1 :]))
    return ServiceLook.of(looks)


def _look(database: ExchangeDatabase, reader: PromptReader, now: KnownPrompt, earlier: Sequence[Exchange]) -> CacheLook:
    """Return a look at one prompt beside the best of the earlier ones, the newest of which is the first."""
    candidates = (known for one in earlier if (known := reader.known(one)) is not None)
    found = former_of(now, candidates)
    if found is None:
        return CacheLook(exchange=now.exchange)
    former, is_conversation = found
    seen = look_at(now.exchange, now.prompt, former.exchange, former.prompt, is_conversation=is_conversation)
    return explained(seen, _between(database, former.exchange, now.exchange)) if seen.cause == "gone" else seen


def _of_service(database: ExchangeDatabase, exchange: Exchange) -> Iterator[Exchange]:
    """Yield the last requests before one of the same service and model, the newest first."""
    query = ExchangeFilter(project=exchange.project, service=exchange.service, model=_model(exchange))
    for one in database.page(query, LAST, exchange.id):
        if _model(one) == _model(exchange):
            yield one


def _between(database: ExchangeDatabase, former: Exchange, now: Exchange) -> Between:
    """Return what else the model did between two requests, among the last 200 before the later one."""
    page = database.page(ExchangeFilter(model=_model(now)), LAST, now.id)
    others = [one for one in page if one.id > former.id and has_prompt(one)]
    return Between(any((one.load_ms or 0.0) > LOADING_MS for one in others), len(others))


def _model(exchange: Exchange) -> str | None:
    return exchange.model_reference or exchange.model_requested
