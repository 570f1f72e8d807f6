"""Values in JSON that their names call secrets: `authorization_token`, `api_key`, the headers of a tool's server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from dmrc.exchange import JsonValue
from dmrc.secret_names import is_secret_name

_Holder = dict[str, JsonValue] | list[JsonValue]

OTHER_NAMES = frozenset({"properties", "$defs", "definitions", "logprobs", "top_logprobs", "completion_probabilities"})
"""Names below these are those of a schema's parameters, or `token` beside its probability."""
# JSON inside of a text: an error that quotes a body, or a body that was cut. Once more inside of a text, its quotes are
# escaped; of an object or a list, all up to its first end is meant.
_IN_TEXT = (
    re.compile(r'"([^"\\]{1,64})"\s{0,8}:\s{0,8}"((?:[^"\\]|\\.)*+)', re.DOTALL),
    re.compile(r'\\"([^"\\]{1,64})\\"\s{0,8}:\s{0,8}\\"([^"\\]*+)'),
    re.compile(r'"([^"\\]{1,64})\\?"\s{0,8}:\s{0,8}[\[{](?=([^\]}]{0,500}))'),
)


def is_telling_name(name: str) -> bool:
    """Return whether `mask_named` may find something under this name."""
    return name in ("headers", "arguments") or is_secret_name(name)


def mask_named(holder: _Holder, replacement: str) -> bool:
    """Put `replacement` for each text that a name calls secret; return whether there was one."""
    changed = False
    if isinstance(holder, list):
        for inner in holder:
            if isinstance(inner, (dict, list)):
                changed |= mask_named(inner, replacement)
        return changed
    for name, inner in holder.items():
        if isinstance(inner, str):
            if is_secret_name(name):
                kept = replacement
            elif name == "arguments" and inner[:1] == "{":
                kept = _in_arguments(inner, replacement)
            else:
                continue
            if inner not in ("", kept):
                holder[name] = kept  # the keys stay, so this may be done in the loop
                changed = True
        elif isinstance(inner, (dict, list)) and name not in OTHER_NAMES:
            mask = _mask_all if name == "headers" or is_secret_name(name) else mask_named
            changed |= mask(inner, replacement)
    return changed


def named_in_text(text: str) -> Iterator[tuple[int, int]]:
    """Yield where such values stand in a text that quotes JSON, or is JSON that was cut."""
    if '"' not in text or ":" not in text:
        return
    texts, escaped, holders = _IN_TEXT
    for pattern in (texts, escaped):
        yield from (match.span(2) for match in pattern.finditer(text) if match[2] and is_secret_name(match[1]))
    for match in holders.finditer(text):
        if '"' in match[2] and (match[1] == "headers" or is_secret_name(match[1])):
            yield match.span(2)


def _mask_all(holder: _Holder, replacement: str) -> bool:
    """Put `replacement` for every text in it."""
    changed = False
    for key, inner in list(holder.items()) if isinstance(holder, dict) else list(enumerate(holder)):
        if isinstance(inner, str) and inner not in ("", replacement):
            holder[key] = replacement  # type: ignore[index]  # the key is of its kind
            changed = True
        elif isinstance(inner, (dict, list)):
            changed |= _mask_all(inner, replacement)
    return changed


def _in_arguments(text: str, replacement: str) -> str:
    """Return the arguments of a call, which are JSON in a text, masked."""
    try:
        value: JsonValue = json.loads(text)
        return json.dumps(value) if isinstance(value, dict) and mask_named(value, replacement) else text
    except (ValueError, RecursionError):
        return text
