"""Why is a request not in a cassette: which recorded one is the nearest, and where do they differ first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from heapq import nlargest

from dmrc.cassettes.cassette import Cassette
from dmrc.cassettes.interaction import Asked
from dmrc.cassettes.matching import Matcher
from dmrc.dialects.table import dialect_of
from dmrc.fields import JsonObject, JsonValue

_AROUND = 40
"""Characters of a text that are shown before and after the first one that differs."""

_COMPARED_LETTERS = 4000
_WHERE = ("model", "path", "dialect")
_COMPARED = 8
"""Of so many requests, which look like it, the texts are compared."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two requests differ first."""

    place: str
    """`message 2 (user)`, or a JSON path: `tools.0.function.name`."""
    at: int | None
    """Index of the first character that differs; None where these are no two texts."""
    recorded: str | None
    """What is recorded, around that place; None where there is nothing."""
    asked: str | None
    """What was asked, around that place; None where there is nothing."""

    def __str__(self) -> str:
        """Return it as one line."""
        if self.recorded is None:
            return f"{self.place} is not in it: {self.asked}"
        if self.asked is None:
            return f"{self.place} is missing, where it has {self.recorded}"
        where = f"{self.place} differs" + (f" at character {self.at + 1}" if self.at is not None else "")
        return f"{where}: recorded {self.recorded}, asked {self.asked}"

    def to_json(self) -> JsonObject:
        """Return it as a report has it."""
        return {"place": self.place, "at": self.at, "recorded": self.recorded, "asked": self.asked}


def nearest(matcher: Matcher, asked: Asked, cassettes: Iterable[Cassette]) -> tuple[str, Asked] | None:
    """Return place and content of the recorded request that is most like this one, of the same route and model.

    One of another route or model where there is no such one; None where there is none at all. It reads all requests of
    the cassettes: 10,000 take less than a second.
    """
    wanted = _said(asked)
    words = _words(wanted)

    def looks() -> Iterator[tuple[tuple[int, float], str, Asked]]:
        for cassette in cassettes:
            for entry in cassette.entries:
                other = cassette.asked(entry)
                same = sum(getattr(other, name) == getattr(asked, name) for name in _WHERE)
                yield (same, _look(_said(other), wanted, words)), cassette.place(entry), other

    best = nlargest(_COMPARED, looks(), key=lambda look: look[0])
    if not best:
        return None
    texts = _texts(matcher, asked)
    _, place, found = max(best, key=lambda look: (look[0][0], _likeness(_texts(matcher, look[2]), texts)))
    return place, found


def first_difference(matcher: Matcher, recorded: Asked, asked: Asked) -> Difference | None:
    """Return where two requests differ first, messages before the rest; None where they ask the same."""
    for name in _WHERE:
        old, new = getattr(recorded, name), getattr(asked, name)
        if old != new:
            return Difference(f"the {name}", None, _shown(old), _shown(new))
    before, now = _messages(matcher, recorded), _messages(matcher, asked)
    if before != now:
        return _of_messages(before, now)
    return _of_values("", matcher.canonical(recorded), matcher.canonical(asked))


def _of_messages(before: list[JsonObject], now: list[JsonObject]) -> Difference | None:
    """Return where two conversations differ first; one message more or less is told as such, wherever it is."""
    shorter = min(len(before), len(now))
    at = next((index for index in range(shorter) if before[index] != now[index]), shorter)
    if at == len(before) or now[at + 1 :] == before[at:]:
        return Difference(_place(at, now[at]), None, None, _shown(_text(now[at])[: 2 * _AROUND]))
    if at == len(now) or before[at + 1 :] == now[at:]:
        return Difference(_place(at, before[at]), None, _shown(_text(before[at])[: 2 * _AROUND]), None)
    one, two = before[at], now[at]
    if one.get("role") != two.get("role"):
        return Difference(f"the role of message {at + 1}", None, _shown(one.get("role")), _shown(two.get("role")))
    text = _text(one), _text(two)
    if text[0] != text[1]:
        return _of_texts(_place(at, two), *text)
    return _of_values(f"message {at + 1}", dict(one), dict(two))


def _place(at: int, message: JsonObject) -> str:
    return f"message {at + 1} ({message.get('role')})"


def _messages(matcher: Matcher, asked: Asked) -> list[JsonObject]:
    return dialect_of(asked.dialect, asked.operation).messages(matcher.canonical(asked))


def _texts(matcher: Matcher, asked: Asked) -> list[str]:
    """Return each message as a text, its role and calls among it; of a request without messages the whole."""
    return [json.dumps(one, sort_keys=True) for one in _messages(matcher, asked) or [matcher.canonical(asked)]]


def _said(asked: Asked) -> list[str]:
    """Return the words of each message as they were sent: for a first look, which is to be fast."""
    messages = dialect_of(asked.dialect, asked.operation).messages(asked.body)
    return [f"{one.get('role')} {_text(one)}" for one in messages] or [json.dumps(asked.body)]


def _words(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(word for text in texts for word in text.split())


def _look(texts: list[str], wanted: list[str], words: frozenset[str]) -> float:
    """Return how like they look at first sight: messages that are the same, and the share of words that both have."""
    same = sum(one == two for one, two in zip(texts, wanted, strict=False))
    own = _words(texts)
    return same + len(own & words) / max(1, len(own | words))


def _likeness(texts: list[str], wanted: list[str]) -> float:
    """Return how like they are, from 0 to 1, by their last words."""
    one, two = ("\n".join(each)[-_COMPARED_LETTERS:] for each in (texts, wanted))
    same = sum(first == second for first, second in zip(texts, wanted, strict=False))
    return same + SequenceMatcher(None, one, two, autojunk=True).ratio()


def _text(message: JsonObject) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, sort_keys=True)


def _of_values(place: str, recorded: JsonValue, asked: JsonValue) -> Difference | None:
    if recorded == asked:
        return None
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in dict.fromkeys((*asked, *recorded)):
            inner = f"{place}.{name}" if place else name
            if name not in recorded:
                return Difference(inner, None, None, _shown(asked[name]))
            if name not in asked:
                return Difference(inner, None, _shown(recorded[name]), None)
            if (found := _of_values(inner, recorded[name], asked[name])) is not None:
                return found
    if isinstance(recorded, list) and isinstance(asked, list):
        for index, (one, two) in enumerate(zip(recorded, asked, strict=False)):
            if (found := _of_values(f"{place}.{index}", one, two)) is not None:
                return found
        index = min(len(recorded), len(asked))
        if len(recorded) > len(asked):
            return Difference(f"{place}.{index}", None, _shown(recorded[index]), None)
        return Difference(f"{place}.{index}", None, None, _shown(asked[index]))
    if isinstance(recorded, str) and isinstance(asked, str):
        return _of_texts(place, recorded, asked)
    return Difference(place, None, _shown(recorded), _shown(asked))


def _of_texts(place: str, recorded: str, asked: str) -> Difference:
    shorter = min(len(recorded), len(asked))
    at = next((index for index in range(shorter) if recorded[index] != asked[index]), shorter)
    return Difference(place, at, _around(recorded, at), _around(asked, at))


def _around(text: str, at: int) -> str:
    start, end = max(0, at - _AROUND), at + _AROUND
    dots = "…" if start else "", "…" if end < len(text) else ""
    return f"'{dots[0]}{' '.join(text[start:end].splitlines())}{dots[1]}'"


def _shown(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 2 * _AROUND else f"{text[: 2 * _AROUND]}…"
