"""Values in JSON that their names call secrets: `authorization_token`, `api_key`, the headers of a tool's server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache

from dmrc.exchange import JsonValue
from dmrc.secret_names import is_secret_name

_Holder = dict[str, JsonValue] | list[JsonValue]
_Place = tuple[_Holder, str | int]
"""An object or a list, and the key or the position of the value in it."""

# Names below these are those of a schema's parameters, and what they hold says what is wanted.
_SCHEMAS = frozenset({"properties", "$defs", "definitions"})
_SCHEMA_WORDS = frozenset({"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const", "properties", "items", "format"})
_VALUES_OF_SCHEMAS = ("default", "const", "example", "examples")
OTHER_NAMES = frozenset({"logprobs", "top_logprobs", "completion_probabilities"})
"""Below these, `token` stands beside its probability."""
_SMALLEST_NUMBER = 100
_LONGEST_JSON = 1 << 20
_LONGEST_NAME = 256


def is_telling_name(name: str) -> bool:
    """Return whether `mask_named` may find something under this name."""
    return _is_telling(name[-_LONGEST_NAME:])  # callers choose names, and the cache keeps them


@lru_cache(4096)
def _is_telling(name: str) -> bool:
    return name in ("headers", "value", "arguments") or name in _SCHEMAS or is_secret_name(name)


def has_named(holder: _Holder) -> bool:
    """Return whether `mask_named` would find anything."""
    return any(True for _ in _named(holder, ""))


def mask_named(holder: _Holder, replacement: str) -> bool:
    """Put `replacement` for what names call secret: texts, whole numbers, all below; return whether there was one."""
    places = list(_named(holder, replacement))
    for inner, key in places:
        inner[key] = replacement  # type: ignore[index]  # the key is of its kind
    return bool(places)


def _named(holder: _Holder, replacement: str) -> Iterator[_Place]:
    if isinstance(holder, list):
        for inner in holder:
            if isinstance(inner, (dict, list)):
                yield from _named(inner, replacement)
        return
    label = holder.get("name") or holder.get("key")
    if isinstance(label, str) and "value" in holder and is_secret_name(label):
        yield from _below(holder, "value", replacement)  # `{"name": "API_TOKEN", "value": …}`
    for name, inner in holder.items():
        if name in _SCHEMAS and isinstance(inner, dict):
            yield from _in_schemas(inner, replacement)
        elif name in OTHER_NAMES:
            continue
        elif is_secret_name(name):
            yield from _below(holder, name, replacement)
        elif isinstance(inner, (dict, list)):
            yield from (_all_in if name == "headers" else _named)(inner, replacement)


def _mask_named_in_texts(holder: _Holder, replacement: str) -> bool:
    """Do the same in the texts that are JSON, and leave all else as it is."""
    changed = False
    for key, inner in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
        if isinstance(inner, (dict, list)):
            changed |= _mask_named_in_texts(inner, replacement)
        elif isinstance(inner, str) and (kept := named_in_text(inner, replacement)) is not None:
            holder[key] = kept  # type: ignore[index,call-overload]  # the key is of its kind
            changed = True
    return changed


def _in_schemas(schemas: dict[str, JsonValue], replacement: str) -> Iterator[_Place]:
    """Yield what schemas of secrets give as their values; what is no schema is a value itself."""
    for name, inner in schemas.items():
        if not is_secret_name(name):
            if isinstance(inner, (dict, list)):
                yield from _named(inner, replacement)
        elif isinstance(inner, dict) and (not inner or not _SCHEMA_WORDS.isdisjoint(inner)):
            for word in _VALUES_OF_SCHEMAS:
                if word in inner:
                    yield from _below(inner, word, replacement)
            yield from _named(inner, replacement)
        else:
            yield from _below(schemas, name, replacement)


def _all_in(holder: _Holder, replacement: str) -> Iterator[_Place]:
    """Yield the place of every text and of every longer number in it."""
    for key in holder if isinstance(holder, dict) else range(len(holder)):
        yield from _below(holder, key, replacement)


def _below(holder: _Holder, key: str | int, replacement: str) -> Iterator[_Place]:
    """Yield the place itself, or those of all that is in it."""
    inner: JsonValue = holder[key]  # type: ignore[index]  # the key is of its kind
    if isinstance(inner, (dict, list)):
        yield from _all_in(inner, replacement)
        return
    is_long = isinstance(inner, int) and not isinstance(inner, bool) and abs(inner) >= _SMALLEST_NUMBER
    if is_long or (isinstance(inner, str) and inner not in ("", replacement)):
        yield holder, key


def named_in_text(text: str, replacement: str) -> str | None:
    """Return a text that is JSON, such as the arguments of a call, masked; None where there is nothing to mask."""
    if text[:1] not in ("{", "[") or len(text) > _LONGEST_JSON:
        return None
    try:
        value: JsonValue = json.loads(text)
        if not isinstance(value, (dict, list)):
            return None
        changed = _mask_named_in_texts(value, replacement) | mask_named(value, replacement)
        return json.dumps(value) if changed else None
    except (ValueError, RecursionError):
        return None
