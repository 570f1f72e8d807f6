"""What kind of thing changes between two texts: a clock, a counter, a random id, a count of tokens, a shuffled list."""

from __future__ import annotations

import re
from typing import Literal, get_args

from dmrc.common_beginning import first_difference
from dmrc.date_texts import dates_in

ChangeKind = Literal[
    "clock",
    "date",
    "counter",
    "number",
    "token count",
    "random id",
    "shuffled",
    "trimmed",
    "replaced",
    "removed",
    "added",
    "edited",
    "parameter",
    "unloaded",
    "displaced",
    "replica",
    "gone",
]
"""Why a prompt was computed again; the last four: it was the same, and not in the cache any more."""

CHANGES: tuple[ChangeKind, ...] = get_args(ChangeKind)
"""All of them."""

_AROUND = 120
_NEAR = 40
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_TOKEN = re.compile(r"[\w+-]+")
_NUMBER = re.compile(r"\d+(?:[.,_]\d+)*")
_DAYS = re.compile(
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|may|june|july|august|september"
    r"|october|november|december|morning|afternoon|evening|night|noon|midnight",
    re.IGNORECASE,
)
_TIMES = re.compile(
    r"\b(?:ago|elapsed|uptime|timestamp|epoch|(?:milli)?seconds?|minutes?|hours?|[ap]m)\b", re.IGNORECASE
)
_COMPACT = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?P<clock>[T_-]?\d{4}(?:\d\d)?Z?)?(?!\w)")
_TOKENS = re.compile(r"tokens?\b|\bcontext (?:left|used|remaining)|\bbudget", re.IGNORECASE)
_WORD = re.compile(r"\w+|[^\w\s]")
_UNIX_TIMES = range(1_200_000_000, 4_000_000_000)
_SHORTEST_ID, _LONGEST_STEP, _LONG_NUMBER = 5, 10, 6
_LONGEST_LIST, _LONGEST_NUMBER, _UNIT = 50_000, 40, 2
_KNOWN_AGAIN = 60


def changed_thing(before: str, now: str, at: int) -> tuple[ChangeKind, int]:
    """Return what changes at the first character that differs, and where that thing begins."""
    if (start := _date(before, now, at)) is not None:
        shown = before[start : at + _NEAR] + now[start : at + _NEAR]
        return ("clock" if re.search(r"\d:\d\d", shown) else "date"), start
    if (start := _covering(_COMPACT, before, now, at)) is not None:
        found = _COMPACT.match(now, start)
        return ("clock" if found and found["clock"] else "date"), start
    if (start := _covering(_UUID, before, now, at)) is not None:
        return "random id", start
    if _is_shuffled(before, now, at):
        return "shuffled", at
    if (start := _covering(_TOKEN, before, now, at)) is not None:
        kind = _kind_of_token(before, now, start)
        if kind is not None:
            return kind, start
    if len(now) - at >= _KNOWN_AGAIN and now[at : at + _KNOWN_AGAIN] in before[at + 1 :]:
        return "trimmed", at
    return "edited", at


def _date(before: str, now: str, at: int) -> int | None:
    """Return where a date or a time of day begins that stands in both texts at the place."""
    starts = []
    for text in (before, now):
        first = max(0, at - _AROUND)
        spans = dates_in(text[first : at + _AROUND])
        starts.append({first + start for start, end in spans if first + start <= at <= first + end})
    if together := starts[0] & starts[1]:
        return min(together)
    start = _covering(_TOKEN, before, now, at)
    if start is None:
        return None
    words = [match[0] if (match := re.compile(r"\w+").match(text, start)) else "" for text in (before, now)]
    return start if all(_DAYS.fullmatch(word) for word in words) else None


def _covering(pattern: re.Pattern[str], before: str, now: str, at: int) -> int | None:
    """Return where a match begins that holds the place, or ends there, in both texts."""
    starts = []
    for text in (before, now):
        first = max(0, at - _AROUND)
        spans = (match.span() for match in pattern.finditer(text, first, min(len(text), at + _AROUND)))
        starts.append({start for start, end in spans if start <= at <= end})
    together = starts[0] & starts[1]
    return min(together) if together else None


def _kind_of_token(before: str, now: str, start: int) -> ChangeKind | None:
    """Return what a word or a number is that begins in both texts at a place."""
    numbers = [match[0] if (match := _NUMBER.match(text, start)) else "" for text in (before, now)]
    tokens = [match[0] if (match := _TOKEN.match(text, start)) else "" for text in (before, now)]
    # A unit may follow at once, as in `12ms`; what has more letters is a name.
    if all(numbers) and all(len(one) - len(two) <= _UNIT for one, two in zip(tokens, numbers, strict=True)):
        return _kind_of_number(now, start, numbers)
    return "random id" if all(map(_is_random, tokens)) else None


def _kind_of_number(now: str, start: int, numbers: list[str]) -> ChangeKind:
    old, new = (int(re.sub(r"\D", "", number.partition(".")[0])[:_LONGEST_NUMBER]) for number in numbers)
    near = now[max(0, start - _NEAR) : start + len(numbers[1]) + _NEAR]
    if _TOKENS.search(near):
        return "token count"
    seconds = {
        old // scale for scale in (1, 1000, 1_000_000) if old // scale in _UNIX_TIMES and new // scale in _UNIX_TIMES
    }
    if seconds or _TIMES.search(near):
        return "clock"
    if abs(new - old) <= _LONGEST_STEP:
        return "counter"
    return "random id" if min(map(len, numbers)) >= _LONG_NUMBER else "number"


def _is_random(name: str) -> bool:
    """Return whether a word looks as if nobody had chosen it: letters and digits in one, and no short one."""
    plain = re.sub(r"[_-]", "", name)
    if len(plain) < _SHORTEST_ID or not plain.isascii():
        return False
    digits = sum(char.isdigit() for char in plain)
    return bool(digits) and (digits < len(plain) or len(plain) >= _LONG_NUMBER)


def _is_shuffled(before: str, now: str, at: int) -> bool:
    """Return whether the texts have the same words from here on to where they are equal again, in another order."""
    start = at
    while start and (now[start - 1].isalnum() or now[start - 1] == "_"):
        start -= 1
    same = first_difference(before[at:][::-1], now[at:][::-1])
    ends = [len(text) - same for text in (before, now)]
    while same and ends[1] < len(now) and (now[ends[1]].isalnum() or now[ends[1]] == "_"):
        ends, same = [end + 1 for end in ends], same - 1
    if max(ends) - start > _LONGEST_LIST:
        return False
    parts = [_WORD.findall(text[start:end]) for text, end in zip((before, now), ends, strict=True)]
    words = [sorted(word for word in part if word.isalnum() or "_" in word) for part in parts]
    return parts[0] != parts[1] and len(words[0]) > 1 and words[0] == words[1]
