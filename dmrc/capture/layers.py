"""A text as it reads once what was escaped in it is not any more: JSON in a text, a URL's parameter, a page of HTML."""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator

_JSON_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[\"'\\/bfnrt])"
)
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|quot|apos|amp|lt|gt);")
_SIMPLE = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_DEEPEST = 5

Back = Callable[[int, int], tuple[int, int]]
"""Returns the span in the text as it was written for one in a layer."""


def layers(text: str) -> Iterator[tuple[str, Back]]:
    """Yield the text as it reads with one kind of escape after the other taken away.

    JSON in a JSON string is escaped once, in one that is itself in a string twice, and so on.
    """
    if "\\" in text:
        yield from _deeper(text, 1)
    if "%" in text and (found := _layer(text, _PERCENT, _percent)):
        yield found
    if "&" in text and (found := _layer(text, _ENTITY, html.unescape)):
        yield found


def unescaped(text: str) -> tuple[str, Back] | None:
    """Return JSON without its escapes, and where they were; None where there are none."""
    return _layer(text, _JSON_ESCAPE, _character)


def _deeper(text: str, depth: int) -> Iterator[tuple[str, Back]]:
    found = unescaped(text)
    if found is None:
        return
    inner, back = found
    yield found
    if "\\" in inner and depth < _DEEPEST:
        for deeper, once in _deeper(inner, depth + 1):
            yield deeper, lambda start, end, once=once: back(*once(start, end))  # type: ignore[misc]


def _layer(text: str, escape: re.Pattern[str], decoded: Callable[[str], str]) -> tuple[str, Back] | None:
    """Return the text without one kind of escape; None where there is none."""
    parts: list[str] = []
    starts, places, length, position = [], [], 0, 0
    for match in escape.finditer(text):
        kept, meant = text[position : match.start()], decoded(match[0])
        parts += (kept, meant)
        length += len(kept)
        # Where the escape begins and ends: in the layer, and in the text.
        starts.append(length)
        places.append((length, length + len(meant), match.start(), match.end()))
        length += len(meant)
        position = match.end()
    if not parts:
        return None
    parts.append(text[position:])

    def back(start: int, end: int) -> tuple[int, int]:
        return place(start)[0], place(end - 1)[1] if end > start else place(start)[0]

    def place(at: int) -> tuple[int, int]:
        """Return where the character at a place of the layer begins and ends in the text."""
        index = bisect_right(starts, at) - 1
        if index < 0:
            return at, at + 1
        _, layer_end, begins, ends = places[index]
        return (begins, ends) if at < layer_end else (ends + at - layer_end, ends + at - layer_end + 1)

    return "".join(parts), back


def _character(escape: str) -> str:
    kind = escape[1]
    if kind == "u" and len(escape) == 12:
        return bytes.fromhex(escape[2:6] + escape[8:]).decode("utf-16-be")
    return chr(int(escape[2:], 16)) if kind in "ux" else _SIMPLE.get(kind, kind)


def _percent(escape: str) -> str:
    data = bytes.fromhex(escape.replace("%", ""))
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
