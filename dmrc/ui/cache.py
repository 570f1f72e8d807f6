"""What the lens sees of the prompt cache, as the page draws it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dmrc.common_beginning import first_difference
from dmrc.exchange import Exchange
from dmrc.figures import span_text
from dmrc.lens.difference import PromptDifference
from dmrc.lens.look import CacheLook
from dmrc.lens.prompt import PromptPieceKind
from dmrc.lens.words import WORDS, numbers, sentence, where
from dmrc.ui.timeline import WIDTH, segments

_TELLS_A_RATE = 32


@dataclass(frozen=True, slots=True)
class CacheShare:
    """One part of a prompt."""

    kind: str
    """`cached`, `again` or `fresh`."""
    name: str
    """What it is called."""
    tokens: int
    """How many."""
    time: str
    """What they took, or saved, where that can be told: `about 80 ms`; "" else."""
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
class CacheMark:
    """The place in the conversation where a prompt is not as a former one was."""

    kind: PromptPieceKind
    """What is other there: a system message, a tool, a message."""
    number: int
    """Of the message, or of the tool, from 1 on."""
    place: str
    """For people: `message 2 (user)`."""
    at: int | None
    """Index of the first character of its text that differs; None where it is another as a whole."""
    text: str
    """What this request has there and the former one does not."""
    texts: Sequence[MarkedText]
    """Both texts around that place."""

    def span_in(self, text: str) -> tuple[int, int] | None:
        """Return from where to where the text is marked; None where it is not the one that was compared."""
        if self.at is None or not text.startswith(self.text, self.at):
            return None
        return self.at, self.at + max(1, len(self.text))


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
    mark: CacheMark | None = None
    """Where it differs first; None where it does not."""

    def mark_among(self, messages: int) -> CacheMark | None:
        """Return the mark, at the last of so many messages where the conversation is shorter than it was."""
        if self.mark is None or self.mark.kind == "tool":
            return self.mark
        return replace(self.mark, number=min(self.mark.number, messages))


def cache_view(look: CacheLook | None) -> CacheView | None:
    """Return the section of a request; None where no engine has read a prompt."""
    if look is None:
        return None
    difference = look.difference if look.cause is not None else None
    texts = [] if difference is None else _texts(difference)
    return CacheView(
        numbers=numbers(look),
        shares=_shares(look),
        unread=look.unread,
        sentence=sentence(look),
        remedy="" if look.cause is None else WORDS[look.cause].remedy,
        where="" if difference is None else where(look, difference),
        texts=texts,
        former=look.former,
        mark=None if difference is None else _mark(difference, texts),
    )


def _mark(difference: PromptDifference, texts: Sequence[MarkedText]) -> CacheMark:
    piece = difference.piece
    now = next((one.other for one in texts if one.name == "now"), "")
    # A message of several parts is shown as one text, in which the places are others.
    at = difference.at if not piece.part else None
    return CacheMark(piece.kind, piece.number, piece.place, at, now.rstrip("…"), texts)


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
            time = _time(look.exchange, kind, tokens, computed)
            shares.append(CacheShare(kind, name, tokens, time, round(left, 2), round(width, 2)))
            left += width
    return shares


def _time(exchange: Exchange, kind: str, tokens: int, computed: int) -> str:
    """Return what some tokens of a prompt took, or would have taken: but for all that were computed, an estimate."""
    prefill = next((one.milliseconds for one in segments(exchange) if one.kind == "prefill"), None)
    if not prefill or not computed:
        return ""
    if kind != "cached":
        return span_text(prefill) if tokens == computed else f"about {span_text(prefill * tokens / computed)}"
    # Few tokens take as long as the first one does: they tell no rate.
    return f"about {span_text(prefill * tokens / computed)} saved" if computed >= _TELLS_A_RATE else ""


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
