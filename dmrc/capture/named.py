"""Values in JSON that their names call secrets: `authorization_token`, `api_key`, the headers of a tool's server."""

from __future__ import annotations

import json

from dmrc.exchange import JsonValue
from dmrc.secret_names import is_secret_name

_Holder = dict[str, JsonValue] | list[JsonValue]

# Names below these are those of a schema's parameters, and what they hold says what is wanted.
_SCHEMAS = frozenset({"properties", "$defs", "definitions"})
_SCHEMA_WORDS = frozenset({"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const", "properties", "items", "format"})
_VALUES_OF_SCHEMAS = ("default", "const", "example", "examples")
OTHER_NAMES = frozenset({"logprobs", "top_logprobs", "completion_probabilities"})
"""Below these, `token` stands beside its probability."""
_SMALLEST_NUMBER = 100
_LONGEST_JSON = 1 << 20


def is_telling_name(name: str) -> bool:
    """Return whether `mask_named` may find something under this name."""
    return name in ("headers", "value", "arguments") or name in _SCHEMAS or is_secret_name(name)


def mask_named(holder: _Holder, replacement: str) -> bool:
    """Put `replacement` for what names call secret: texts, whole numbers, all below; return whether there was one."""
    changed = False
    if isinstance(holder, list):
        for inner in holder:
            if isinstance(inner, (dict, list)):
                changed |= mask_named(inner, replacement)
        return changed
    label = holder.get("name") or holder.get("key")
    if isinstance(label, str) and "value" in holder and is_secret_name(label):
        changed = _mask(holder, "value", replacement)  # `{"name": "API_TOKEN", "value": …}`
    for name, inner in holder.items():  # the keys stay, so they may get new values in the loop
        if name in _SCHEMAS and isinstance(inner, dict):
            changed |= _mask_schemas(inner, replacement)
        elif name in OTHER_NAMES:
            continue
        elif is_secret_name(name):
            changed |= _mask(holder, name, replacement)
        elif isinstance(inner, (dict, list)):
            changed |= (_mask_all if name == "headers" else mask_named)(inner, replacement)
    return changed


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


def _mask_schemas(schemas: dict[str, JsonValue], replacement: str) -> bool:
    """Mask what schemas of secrets give as their values; what is no schema is a value itself."""
    changed = False
    for name, inner in schemas.items():
        if not is_secret_name(name):
            if isinstance(inner, (dict, list)):
                changed |= mask_named(inner, replacement)
        elif isinstance(inner, dict) and (not inner or not _SCHEMA_WORDS.isdisjoint(inner)):
            for word in _VALUES_OF_SCHEMAS:
                changed |= word in inner and _mask(inner, word, replacement)
            changed |= mask_named(inner, replacement)
        else:
            changed |= _mask(schemas, name, replacement)
    return changed


def _mask_all(holder: _Holder, replacement: str) -> bool:
    """Put `replacement` for every text and every longer number in it."""
    changed = False
    for key in list(holder) if isinstance(holder, dict) else list(range(len(holder))):
        changed |= _mask(holder, key, replacement)
    return changed


def _mask(holder: _Holder, key: str | int, replacement: str) -> bool:
    """Put `replacement` for what stands at `key`, or for all that is in it."""
    inner: JsonValue = holder[key]  # type: ignore[index]  # the key is of its kind
    if isinstance(inner, (dict, list)):
        return _mask_all(inner, replacement)
    is_long = isinstance(inner, int) and not isinstance(inner, bool) and abs(inner) >= _SMALLEST_NUMBER
    if is_long or (isinstance(inner, str) and inner not in ("", replacement)):
        holder[key] = replacement  # type: ignore[index]  # as above
        return True
    return False


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
