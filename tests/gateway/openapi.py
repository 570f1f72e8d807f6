"""An OpenAPI document: whether it holds together, and values that its schemas allow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as some
from hypothesis.strategies import SearchStrategy

Document = Mapping[str, Any]
METHODS = ("get", "put", "post", "delete")


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Yield method, path and operation of each route."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def check(document: Document) -> None:
    """Fail where the document is not what OpenAPI 3.1 wants: https://spec.openapis.org/oas/v3.1.0."""
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"]
    assert document["info"]["version"]
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for method, path, operation in operations(document):
        assert method.lower() in METHODS
        assert operation["responses"], path
        assert all(response["description"] for response in operation["responses"].values()), path
        declared = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path" and one["required"]}
        assert declared == set(re.findall(r"{(\w+)}", path)), path
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"], reference


def _references(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def values_of(schema: Document, named: Mapping[str, Document]) -> SearchStrategy[Any]:
    """Return values that a schema allows, with each optional field now there and now not."""
    if "$ref" in schema:
        return values_of(named[schema["$ref"].rpartition("/")[2]], named)
    if "anyOf" in schema:
        return some.one_of(*(values_of(inner, named) for inner in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return some.sampled_from(schema.get("enum", [schema.get("const")]))
    return _VALUES[schema.get("type", "")](schema, named)


def _objects(schema: Document, named: Mapping[str, Document]) -> SearchStrategy[Any]:
    fields = {name: values_of(inner, named) for name, inner in schema.get("properties", {}).items()}
    needed = {name: fields.pop(name) for name in schema.get("required", ())}
    if not needed and not fields and schema.get("additionalProperties"):
        more = schema["additionalProperties"]
        return some.dictionaries(_TEXT, values_of(more if isinstance(more, dict) else {}, named), max_size=3)
    return some.fixed_dictionaries(needed, optional=fields)


def _numbers(schema: Document, _named: Mapping[str, Document]) -> SearchStrategy[Any]:
    least, most = schema.get("minimum", -1e9), schema.get("maximum", 1e9)
    return some.floats(least, most, exclude_min="exclusiveMinimum" in schema, width=32)


def _whole(schema: Document, _named: Mapping[str, Document]) -> SearchStrategy[Any]:
    least = schema.get("exclusiveMinimum", schema.get("minimum", -(10**6)) - 1) + 1
    return some.integers(int(least), int(schema.get("maximum", 10**6)))


_TEXT = some.text(some.characters(exclude_categories=["Cs"]), max_size=20)
_VALUES: Mapping[str, Any] = {
    "object": _objects,
    "array": lambda schema, named: some.lists(
        values_of(schema.get("items", {}), named),
        min_size=schema.get("minItems", 0),
        max_size=schema.get("maxItems", 3),
    ),
    "string": lambda schema, _: _TEXT.filter(str.strip) if schema.get("pattern") else _TEXT,
    "integer": _whole,
    "number": _numbers,
    "boolean": lambda *_: some.booleans(),
    "null": lambda *_: some.none(),
    "": lambda *_: some.none() | some.booleans() | some.integers() | _TEXT,
}
