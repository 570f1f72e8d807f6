"""JSON that was cut: what a model had written of a call's arguments when it had no tokens left. Pure."""

from __future__ import annotations

import json
import re
from collections import deque

from dmrc.exchange import JsonValue

_LONGEST = 1 << 16
_DEEPEST = 64
_TRIES = 4
# A string (perhaps without its end), a bracket or a comma, or what stands between them.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|(?P<sign>[\[\]{},])|[^"\[\]{},]+', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}


def closed(text: str) -> dict[str, JsonValue] | None:
    """Return the object that a text began to be, with what can be kept of it; None where it began to be none.

    Example: `{"city": "Be` is `{"city": "Be"}`, `{"city": "Bern", "da` is `{"city": "Bern"}`.
    """
    if len(text) > _LONGEST or not text.lstrip().startswith("{"):
        return None
    if (found := _object(text)) is not None:
        return found  # whole, but for a line break in a text
    missing = ""
    beginnings: deque[tuple[int, str]] = deque(maxlen=_TRIES)
    for token in _TOKEN.finditer(text):
        sign = token["sign"]
        if sign == ",":
            beginnings.appendleft((token.start(), missing))
        elif sign in _CLOSING:
            missing = _CLOSING[sign] + missing
            beginnings.appendleft((token.end(), missing))
        elif sign is not None and missing.startswith(sign):
            missing = missing[1:]
        if sign is not None and (not missing or len(missing) > _DEEPEST):
            return None
    whole = text.removesuffix("\\")
    tries = [f'{whole}"{missing}', whole + missing, *(text[:end] + rest for end, rest in beginnings)]
    return next((found for found in map(_object, tries) if found is not None), None)


def _object(text: str) -> dict[str, JsonValue] | None:
    try:
        found = json.loads(text, strict=False, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def refuse_constant(name: str) -> float:
    """Refuse `NaN` and its like, which Python reads and no JSON has."""
    raise ValueError(f"{name} is not JSON")
