"""Dates and times of day in texts, as people and programs write them: what changes from one prompt to the next."""

from __future__ import annotations

import re

_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DAY = r"(?:\d{1,2}(?:st|nd|rd|th)?)"
_YEARS, _OF_YEAR, _OF_MONTH = r"(?:19|20)\d{2}", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_FIRST = r"(?:0?[1-9]|[12]\d|3[01])"
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?,?\s+)"
_CLOCK = r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(?!:?\d)(?:\s?[ap]\.?m\b)?"
_ZONE = r"(?:\s?(?:Z|UTC|GMT|[+-][01]\d:?[0-5]\d))?"
_AT = rf"(?:,?\s+(?:at\s+)?{_CLOCK}{_ZONE})?"
# Two patterns, each behind a look that costs little: most texts have no date, and many have long numbers.
_NUMBERS = re.compile(
    rf"(?<![\w.])(?=[0-9])(?:{_YEARS}-{_OF_YEAR}-{_OF_MONTH}(?:[T ]{_CLOCK}{_ZONE})?"
    rf"|{_FIRST}[/.]{_FIRST}[/.]{_YEARS}{_AT}|{_CLOCK}{_ZONE})(?!\w)"
)
_NAMES = re.compile(
    rf"(?<!\w){_WEEKDAY}?(?:{_DAY}\s+{_MONTH}|{_MONTH}\s+{_DAY}),?\s+{_YEARS}{_AT}(?!\w)", re.IGNORECASE
)
_MAY_BE_NUMBERS = re.compile(r"[0-9](?::[0-9][0-9]|[-/.][0-9][0-9]?[-/.][0-9])")
_YEAR = re.compile(r"[,\s](?:19|20)[0-9]{2}(?!\w)")
_MONTH_BEFORE = re.compile(_MONTH, re.IGNORECASE)
_LONGEST_MONTH_AND_DAY, _LONGEST_BEFORE_YEAR, _LONGEST_AFTER_YEAR = 16, 32, 48


def without_dates(text: str, mark: str) -> str:
    """Return a text with a mark in place of each date and each time of day."""
    text = _without_named_dates(text, mark)
    return _NUMBERS.sub(mark, text) if _MAY_BE_NUMBERS.search(text) else text


def dates_in(text: str) -> list[tuple[int, int]]:
    """Return the spans of dates and times of day in a short text, in no order."""
    return [match.span() for pattern in (_NUMBERS, _NAMES) for match in pattern.finditer(text)]


def _without_named_dates(text: str, mark: str) -> str:
    """Return a text with a mark in place of dates that name a month, which are searched for where a year stands."""
    parts: list[str] = []
    done = 0
    for year in _YEAR.finditer(text):
        start = year.start()
        if start < done or not _MONTH_BEFORE.search(text, max(done, start - _LONGEST_MONTH_AND_DAY), start):
            continue
        found = _NAMES.search(text, max(done, start - _LONGEST_BEFORE_YEAR), year.end() + _LONGEST_AFTER_YEAR)
        if found is not None:
            parts += (text[done : found.start()], mark)
            done = found.end()
    return "".join([*parts, text[done:]]) if parts else text
