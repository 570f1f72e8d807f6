"""JSON schemas that bind an answer, in the part that llama.cpp's grammar keeps to. Pure.

Its converter drops in silence what it does not know of a `pattern`: the answer is any text then. What can be said in
its own words is; what cannot be is refused by name.

Source: https://github.com/ggml-org/llama.cpp/blob/master/common/json-schema-to-grammar.cpp
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject

_OF_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SCHEMA = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems", "items")
# What the grammar knows nothing of, and of numbers that need not be whole.
_UNKEPT = (
    *("multipleOf", "not", "if", "then", "else", "uniqueItems", "contains", "minContains", "maxContains"),
    *("patternProperties", "propertyNames", "minProperties", "maxProperties", "unevaluatedProperties"),
    *("unevaluatedItems", "dependentSchemas", "dependentRequired", "contentEncoding"),
)
_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_FORMATS = ("date", "time", "date-time", *(f"uuid{version}" for version in ("", *"12345")))
# Of these null is a value.
_VALUES = ("const", "default", "example", "examples", "enum")

# A text may hold neither of these as they are; the engine's own `.` and `[^…]` know no such thing.
_NEVER = r'"\\\x00-\x1F'
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " "}
_ANYTHING = f"[^{_NEVER}]"
_ESCAPE = r"\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\."
_TOKEN = re.compile(_ESCAPE + r"|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:P?<(?![=!])[^>]*>|.)|.", re.DOTALL)
_IN_CLASS = re.compile(_ESCAPE + "|.", re.DOTALL)
# In JSON both have a backslash before them.
_WRITTEN = {".": _ANYTHING, '"': r"\\\"", '\\"': r"\\\"", r"\\": r"\\\\"}
_PLAIN_ESCAPES = frozenset("^$.[]()|{}*+?")


def kept_schema(schema: JsonValue, where: str, *, ref_prefix: str = "#") -> JsonValue:
    """Return a schema as the engine keeps to it; the very same value where nothing had to change.

    Nulls that say nothing are left out. References to its own parts (`#/$defs/x`) begin with `ref_prefix`, for one
    that is put into another. `where` is its place in the request.

    Raises:
        InputError: A `pattern` cannot be kept; it is named by its place.
    """
    if not isinstance(schema, dict):
        return schema
    result: JsonObject = {}
    for name, value in schema.items():
        if value is None and name not in _VALUES:
            continue
        result[name] = _kept(name, value, f"{where}.{name}", ref_prefix)
    is_same = len(result) == len(schema) and all(result[name] is schema[name] for name in schema)
    return schema if is_same else result


def kept_format(form: JsonValue) -> JsonValue:
    """Return a `response_format` whose schema the engine keeps to; the very same value where nothing had to change.

    Raises:
        InputError: It has no schema where it should, or one that cannot be kept.
    """
    if not isinstance(form, dict) or form.get("type") not in ("json_schema", "json_object"):
        return form
    if form["type"] == "json_object":
        schema = form.get("schema")
        kept = kept_schema(schema, "response_format.schema")
        return form if kept is schema else {**form, "schema": kept}
    described = form.get("json_schema")
    if not isinstance(described, dict) or not isinstance(schema := described.get("schema"), dict):
        raise InputError("'response_format.json_schema' has no 'schema'", remedy='Send {"name": "…", "schema": {…}}')
    kept = kept_schema(schema, "response_format.json_schema.schema")
    return form if kept is schema else {**form, "json_schema": {**described, "schema": kept}}


def unkept(form: JsonValue) -> tuple[str, ...]:
    """Return the keywords of a `response_format` that its grammar leaves out, by their place in the schema."""
    if not isinstance(form, dict):
        return ()
    described = form.get("json_schema")
    return tuple(_unkept(described.get("schema") if isinstance(described, dict) else form.get("schema"), "schema"))


def _unkept(schema: JsonValue, where: str) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    for name, value in schema.items():
        place = f"{where}.{name}"
        is_number = schema.get("type") == "number" and name in _LIMITS
        if name in _UNKEPT or is_number or (name == "format" and value not in _FORMATS):
            yield place
        elif name in _OF_SCHEMAS and isinstance(value, dict):
            for key, one in value.items():
                yield from _unkept(one, f"{place}.{key}")
        elif name in _LISTS and isinstance(value, list):
            for number, one in enumerate(value):
                yield from _unkept(one, f"{place}[{number}]")
        elif name in _SCHEMA:
            yield from _unkept(value, place)


def _kept(name: str, value: JsonValue, where: str, ref_prefix: str) -> JsonValue:
    if name == "$ref" and isinstance(value, str) and ref_prefix != "#":
        return f"{ref_prefix}{value.removeprefix('#')}" if value.startswith("#") else value
    if name == "pattern" and isinstance(value, str):
        return kept_pattern(value, where)
    if name in _OF_SCHEMAS and isinstance(value, dict):
        kept = {key: kept_schema(one, f"{where}.{key}", ref_prefix=ref_prefix) for key, one in value.items()}
        return value if all(kept[key] is value[key] for key in value) else kept
    if name in _LISTS and isinstance(value, list):
        each = [kept_schema(one, f"{where}[{number}]", ref_prefix=ref_prefix) for number, one in enumerate(value)]
        return value if all(new is old for new, old in zip(each, value, strict=True)) else each
    return kept_schema(value, where, ref_prefix=ref_prefix) if name in _SCHEMA else value


def kept_pattern(pattern: str, where: str) -> str:
    r"""Return a regular expression in the words that the engine knows: `\d{4}` is `^[^…]*([0-9]{4})[^…]*$`.

    Raises:
        InputError: It looks ahead or back, or is otherwise beyond a grammar.
    """
    pieces = _TOKEN.findall(pattern)
    begins, ends = pieces[:1] == ["^"], pieces[-1:] == ["$"]
    inner = "".join(_written(piece, pattern, where) for piece in pieces[int(begins) : len(pieces) - int(ends)])
    if begins and ends:
        return f"^{inner}$"
    before, after = ("" if is_bound else f"{_ANYTHING}*" for is_bound in (begins, ends))
    return f"^{before}({inner}){after}$"


def _written(piece: str, pattern: str, where: str) -> str:
    if piece in _WRITTEN:
        return _WRITTEN[piece]
    if piece[0] == "[":
        return _class(piece, pattern, where)
    if piece.startswith("(?"):
        if piece == "(?:" or piece.endswith(">"):
            return "("
        raise _beyond(piece, pattern, where)
    if piece in ("^", "$"):
        raise _beyond(piece, pattern, where)
    if piece[0] != "\\":
        return piece
    letter = piece[1]
    if letter in _CLASSES:
        return f"[{_CLASSES[letter]}]"
    if letter.lower() in _CLASSES:
        return f"[^{_CLASSES[letter.lower()]}{_NEVER}]"
    if len(piece) > 2 or letter in _PLAIN_ESCAPES:
        return piece
    if letter.isalnum():
        raise _beyond(piece, pattern, where)
    return letter


def _class(piece: str, pattern: str, where: str) -> str:
    is_negated = piece.startswith("[^")
    parts = []
    for part in _IN_CLASS.findall(piece[2 if is_negated else 1 : -1]):
        letter = part[1:2]
        if part in _WRITTEN and part != ".":
            continue  # of one letter there is no way to write it; an answer without it keeps to the pattern
        if part[0] != "\\" or len(part) > 2:
            parts.append(part)
        elif letter in _CLASSES:
            parts.append(_CLASSES[letter])
        elif letter.isalnum():
            raise _beyond(part, pattern, where)
        else:
            parts.append(f"\\x{ord(letter):02X}" if ord(letter) < 128 else letter)
    never = _NEVER if is_negated else ""
    return f"[{'^' if is_negated else ''}{''.join(parts)}{never}]"


def _beyond(piece: str, pattern: str, where: str) -> InputError:
    return InputError(
        f"{where} is '{pattern[:80]}', whose '{piece}' cannot be kept to",
        remedy="Write it without look-ahead, look-behind, back-references and anchors in the middle",
    )


def described(tools: list[JsonObject]) -> Mapping[str, JsonValue]:
    """Return the schema of one call of one of these functions: `{"name": "…", "arguments": {…}}`."""
    calls: list[JsonValue] = []
    for number, function in enumerate(tools):
        prefix = f"#/anyOf/{number}/properties/arguments"
        arguments = function.get("parameters") or {"type": "object"}
        calls.append(
            {
                "type": "object",
                "properties": {
                    "name": {"const": function["name"]},
                    "arguments": kept_schema(arguments, "parameters", ref_prefix=prefix),
                },
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    return {"anyOf": calls}
