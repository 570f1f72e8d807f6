"""What is told of a request that a route cannot read: each field by its name, and what it must be.

The words come from the route's own OpenAPI schema, so the two cannot differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from dmrc.errors import HttpInputError

_MOST = 5
_Schema = Mapping[str, Any]
_KINDS = {"string": "a string", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
_KINDS |= {"array": "a list", "object": "an object", "null": "null"}


def refusal(fields: RouteSchema, error: RequestValidationError, bad_body: int) -> HttpInputError:
    """Return what is wrong; the status is `bad_body`, or 400 where only the address is wrong."""
    found = dict(fields.told(one) for one in error.errors())
    is_in_body = any(one["loc"][0] == "body" for one in error.errors())
    examples = {name: value for example in found.values() for name, value in example.items()}
    remedy = f"Send {json.dumps(examples)}" if all(found.values()) else None
    return HttpInputError("; ".join([*found][:_MOST]), status=bad_body if is_in_body else 400, remedy=remedy)


class RouteSchema:
    """What a route takes, by its schema."""

    def __init__(self, route: APIRoute) -> None:
        """Have FastAPI describe the route, which takes some milliseconds."""
        document = get_openapi(title="", version="", routes=[route])
        self._named: Mapping[str, _Schema] = document.get("components", {}).get("schemas", {})
        (operation, *_) = document["paths"][route.path_format].values() if route.include_in_schema else [{}]
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        self._body: _Schema = body.get("schema", {})
        self._parameters = {one["name"]: one["schema"] for one in operation.get("parameters", ())}

    def told(self, error: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Return what is wrong with one field, and the field as it may be, where its schema has an example."""
        place, *inside = error["loc"]
        name, schema = self._field(place, inside)
        where = f"'{name}'" if name else "the request body"
        example = {name: schema["examples"][0]} if name and "examples" in schema else {}
        if error["type"] == "missing":
            return f"{where} is missing from the {place}" if name else "the request has no body", example
        if error["type"] == "extra_forbidden":
            return f"{where} is not known here", {}
        if error["type"] == "value_error":  # words of ours
            return str(error["ctx"]["error"]), {}
        words = self._words(schema)
        return f"{where} must be {words if name else words.replace('an object', 'a JSON object')}", example

    def _field(self, place: str, names: Iterable[int | str]) -> tuple[str, _Schema]:
        """Return the name of a field as a reader writes it, `models[0].name`, and its schema.

        What pydantic says further of it, as which of several kinds it is not, is no part of the name.
        """
        if place != "body":
            (name, *_) = names
            return str(name), self._parameters.get(str(name), {})
        written, schema = "", self._body
        for name in names:
            inner = self._inner(schema, name)
            if inner is None:
                break
            written += f"[{name}]" if isinstance(name, int) else f".{name}" if written else name
            schema = inner
        return written, schema

    def _inner(self, schema: _Schema, name: int | str) -> _Schema | None:
        for branch in self._branches(schema):
            if name in branch.get("properties", {}):
                found: _Schema = branch["properties"][name]
                return found
            below = branch.get("items" if isinstance(name, int) else "additionalProperties")
            if isinstance(below, dict):
                return below
            if isinstance(name, str) and branch.get("type") == "object":
                return {}
        return None

    def _branches(self, schema: _Schema) -> list[_Schema]:
        """Return what a value may be, each with its reference followed; that it may be null is not told."""
        if "$ref" in schema:
            return self._branches(self._named[schema["$ref"].rpartition("/")[2]])
        several = [branch for inner in schema.get("anyOf", ()) for branch in self._branches(inner)]
        return [branch for branch in several if branch.get("type") != "null"] or [schema]

    def _words(self, schema: _Schema) -> str:
        return " or ".join(dict.fromkeys(self._kind(branch) for branch in self._branches(schema)))

    def _kind(self, schema: _Schema) -> str:
        """Return the words for what a value may be: `a whole number above 0`."""
        if "enum" in schema or "const" in schema:
            values = schema.get("enum", [schema.get("const")])
            return f"one of {', '.join(json.dumps(value) for value in values)}" if len(values) > 1 else repr(values[0])
        kind = _KINDS.get(schema.get("type", ""), "something else")
        if schema.get("type") == "array" and self._words(schema.get("items", {})) == "a string":
            return "a list of strings"
        if schema.get("minLength") or schema.get("pattern"):
            return f"{kind} that is not empty"
        return kind + _bounds(schema)


def _bounds(schema: _Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    if "exclusiveMinimum" in schema:
        return f" above {schema['exclusiveMinimum']:g}"
    return "" if least is None else f" of at least {least:g}"
