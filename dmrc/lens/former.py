"""Which former prompt is the one to compare with: the same conversation's, else the nearest of the service."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import nlargest

from dmrc.exchange import REPLAYED, Exchange
from dmrc.lens.difference import compare
from dmrc.lens.prompt import Prompt

OPERATIONS = ("chat", "completion", "response")
"""What has a prompt that an engine keeps."""

_COMPARED = 3
"""Of so many, which have the most in common at first sight, the texts are compared."""

_NEWEST = 16
"""So many of the newest may be compared with though they have no message in common: caches do not keep more."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownPrompt:
    """A request with its prompt, ready to be found again."""

    exchange: Exchange
    """The request."""
    prompt: Prompt
    """What it put into the context."""
    said: dict[int, int] = field(init=False)
    """Sizes of the texts of its messages, by their hash."""
    given: dict[int, int] = field(init=False)
    """The same of its system messages and tools."""

    def __post_init__(self) -> None:
        """Note the sizes."""
        kinds: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for piece in self.prompt.pieces:
            sizes, key = kinds[piece.kind != "message"], hash(piece.same)
            sizes[key] = sizes.get(key, 0) + piece.size
        object.__setattr__(self, "said", kinds[0])
        object.__setattr__(self, "given", kinds[1])


def may_be_former(one: Exchange, now: Exchange) -> bool:
    """Return whether the engine had read the prompt of a request when it began with another one of the same kind."""
    if (one.project, one.service, one.dialect) != (now.project, now.service, now.dialect):
        return False
    if one.operation not in OPERATIONS or REPLAYED in one.annotations or (one.status or 0) >= 400:
        return False
    if one.prompt_tokens is None and one.first_token_ms is None and one.was_cancelled:
        return False
    read_after = one.first_token_ms if one.first_token_ms is not None else one.total_ms
    begins = now.received_at + ((now.load_ms or 0.0) + (now.queue_ms or 0.0)) / 1000
    return one.id < now.id and one.received_at + (read_after or 0.0) / 1000 <= begins


def former_of(now: KnownPrompt, earlier: Iterable[KnownPrompt]) -> tuple[KnownPrompt, bool] | None:
    """Return the former prompt to compare with, and whether it is of the same conversation; None where there is none.

    `earlier` are requests of the same service, model and dialect, the newest first; one that is the turn before this
    one ends the search.
    """
    seen: list[tuple[tuple[bool, int, bool, int, int], KnownPrompt]] = []
    for number, one in enumerate(earlier):
        if not may_be_former(one.exchange, now.exchange):
            continue
        in_session = one.exchange.session_id is not None and one.exchange.session_id == now.exchange.session_id
        said, given = _common(one.said, now.said), _common(one.given, now.given)
        if said and said == sum(one.said.values()) and _is_turn_before(one.prompt, now.prompt):
            return one, True
        is_kin = bool(said) or in_session
        if is_kin or len(seen) < _NEWEST:
            seen.append(((is_kin, said, in_session, given, -number), one))
    best = nlargest(_COMPARED, seen, key=lambda look: look[0])
    if not best:
        return None
    rank, found = max(best, key=lambda look: (*look[0][:3], _likeness(look[1].prompt, now.prompt), look[0][4]))
    return found, rank[0] or _is_alone(found.prompt, now.prompt)


def _common(one: dict[int, int], other: dict[int, int]) -> int:
    """Return how many characters two have in common, by whole texts."""
    fewer, more = (one, other) if len(one) < len(other) else (other, one)
    return sum(min(size, more[key]) for key, size in fewer.items() if key in more)


def _is_turn_before(former: Prompt, now: Prompt) -> bool:
    """Return whether a prompt begins with a former one, and at most one answer is between them."""
    count = len(former.pieces)
    if count > len(now.pieces):
        return False
    if any(one.same != two.same for one, two in zip(former.pieces, now.pieces, strict=False)):
        return False
    return len({piece.number for piece in now.pieces[count:] if piece.role == "assistant"}) <= 1


def _likeness(former: Prompt, now: Prompt) -> int:
    found = compare(former, now)
    return found.same_before + found.same_after


def _is_alone(former: Prompt, now: Prompt) -> bool:
    """Return whether both say one text, of which most is the same: a prompt that has the whole conversation in it."""
    one, two = (
        Prompt(tuple(piece for piece in prompt.pieces if piece.kind == "message"), {}) for prompt in (former, now)
    )
    return len(one.pieces) == len(two.pieces) == 1 and 2 * _likeness(one, two) > min(one.size, two.size)
