"""What the lens sees of the prompt cache, as the page draws it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dmrc.common_beginning import first_difference
from dmrc.lens.difference import PromptDifference
from dmrc.lens.look import CacheLook
from dmrc.lens.words import WORDS, numbers, sentence, where
from dmrc.ui.timeline import WIDTH


@dataclass(frozen=True, slots=True)
class CacheShare:
    """One part of a prompt."""

    kind: str
    """`cached`, `again` or `fresh`."""
    name: str
    """What it is called."""
    tokens: int
    """How many."""
    left: float
    """Where it begins, of `WIDTH`."""
    width: float
    """How wide it is."""


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A text around the first character that differs."""

    name: str
    """`before` or `now`."""
    same: str | None
    """What both have before; None where there was nothing at all."""
    other: str
    """What only this one has; "" where the other one has more."""
    rest: str
    """What both have behind that."""


@dataclass(frozen=True, slots=True)
class CacheView:
    """The section of one request."""

    numbers: str
    """What came from the cache, in a line."""
    shares: list[CacheShare]
    """The parts of the prompt; none where the engine did not count them."""
    unread: str | None
    """Why it was not compared; None where it was."""
    sentence: str | None
    """Why tokens were computed again; None where the cache worked."""
    remedy: str
    """What to do about it."""
    where: str
    """Where it differs first; "" where it does not."""
    texts: list[MarkedText]
    """Both texts around that place."""
    former: str | None
    """Id of the request with the former prompt."""


def cache_view(look: CacheLook | None) -> CacheView | None:
    """Return the section of a request; None where no engine has read a prompt."""
    if look is None:
        return None
    difference = look.difference if look.cause is not None else None
    return CacheView(
        numbers=numbers(look),
        shares=_shares(look),
        unread=look.unread,
        sentence=sentence(look),
        remedy="" if look.cause is None else WORDS[look.cause].remedy,
        where="" if difference is None else where(look, difference),
        texts=[] if difference is None else _texts(difference),
        former=look.former,
    )


def _shares(look: CacheLook) -> list[CacheShare]:
    whole, cached, computed = look.exchange.prompt_tokens, look.cached, look.computed
    if not whole or cached is None or computed is None:
        return []
    again = min(look.again or 0, computed)
    parts = (
        ("cached", "from the cache", cached),
        ("again", "computed again", again),
        ("fresh", "new", computed - again),
    )
    shares, left = [], 0.0
    for kind, name, tokens in parts:
        if tokens:
            width = tokens / (cached + computed) * WIDTH
            shares.append(CacheShare(kind, name, tokens, round(left, 2), round(width, 2)))
            left += width
    return shares


def _texts(difference: PromptDifference) -> list[MarkedText]:
    before, now = difference.before, difference.now
    if before is None or now is None:
        texts = (("before", before), ("now", now))
        return [MarkedText(name, None if text is None else "", text or "", "") for name, text in texts]
    head = first_difference(before, now)
    tail = first_difference(before[head:][::-1], now[head:][::-1])
    return [
        MarkedText(name, text[:head], text[head : len(text) - tail], text[len(text) - tail :])
        for name, text in (("before", before), ("now", now))
    ]
