"""The form that a request wants its answer in: JSON, or JSON of a schema; and whether an answer has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from dmrc.exchange import JsonValue
from dmrc.json_values import object_of

_LONGEST_FAULT = 200


@dataclass(frozen=True, slots=True)
class WantedForm:
    """JSON."""

    schema: JsonValue = None
    """JSON Schema that it must keep to; None: any object."""

    @classmethod
    def of(cls, chat: Mapping[str, JsonValue]) -> WantedForm | None:
        """Return what a request wants, as its dialect says it for engines; None: words of any form.

        Shape: `{"response_format": {"type": "json_schema", "json_schema": {"schema": {…}}}}`, or `{"json_schema": {…}}`
        of llama.cpp's completions.
        """
        if isinstance(schema := chat.get("json_schema"), dict):
            return cls(schema)
        form = object_of(chat.get("response_format"))
        if form.get("type") == "json_object":
            return cls(form.get("schema"))
        if form.get("type") == "json_schema":
            return cls(object_of(form.get("json_schema")).get("schema"))
        return None

    def fault(self, text: str) -> str | None:
        """Return what is wrong with an answer, in a line; None where it has the form."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            return f"no JSON: {error}" if text.strip() else "no JSON: the answer is empty"
        if self.schema is None:
            return None if isinstance(value, dict) else f"no JSON object, but {_kind(value)}"
        return _fault(value, self.schema)


def _fault(value: JsonValue, schema: JsonValue) -> str | None:
    import jsonschema  # only where an answer has a schema
    import referencing
    from referencing.exceptions import Unresolvable

    if not isinstance(schema, dict | bool):
        return None
    # A registry of nothing: no address in a schema is ever fetched.
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    validator = kind(schema, registry=referencing.Registry())
    try:
        found = jsonschema.exceptions.best_match(validator.iter_errors(value))
    except (jsonschema.SchemaError, Unresolvable, RecursionError, TypeError, ValueError):
        return None  # the schema itself is none: no answer can be wrong by it
    if found is None:
        return None
    text = " ".join(f"{found.json_path}: {found.message}".split())
    return text if len(text) <= _LONGEST_FAULT else f"{text[: _LONGEST_FAULT - 1]}…"


def _kind(value: JsonValue) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return "a list" if isinstance(value, list) else "a text" if isinstance(value, str) else "a number"
