"""Dataclasses of ours as bodies: FastAPI reads what their `to_json` writes, and describes it.

The fields are those of the dataclass, and stand in no other list.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, core_schema

from dmrc.errors import InputError


class JsonForm:
    """Stands in the annotation of a dataclass, `Annotated[Registration, JsonForm(…)]`, and reads it from its JSON."""

    def __init__(self, read: Callable[[dict[str, Any]], object], **forms: Any) -> None:
        """Have `read` make the value of a document whose fields are checked; `forms` are the types of fields in JSON.

        They are needed where JSON has another type than the dataclass, or none that pydantic understands.

        Fields that are not known are left to `read`: a command of another version sends them.
        """
        self._read = read
        self._forms = forms

    def __get_pydantic_core_schema__(self, kind: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return how pydantic reads it."""
        return core_schema.no_info_after_validator_function(
            self._value, handler.generate_schema(model_of(kind, **self._forms))
        )

    def _value(self, checked: BaseModel) -> object:
        try:
            return self._read(checked.model_dump(exclude_unset=True))
        except InputError as error:
            raise ValueError(str(error)) from error


def model_of(kind: Any, **forms: Any) -> type[BaseModel]:
    """Return the model of a dataclass's JSON; `forms` are fields of it with a type of their own, or further ones."""
    written = get_type_hints(kind)
    hints = {one.name: _in_json(written[one.name]) for one in dataclasses.fields(kind) if one.name not in forms}
    optional = {
        one.name
        for one in dataclasses.fields(kind)
        if one.default is not dataclasses.MISSING or one.default_factory is not dataclasses.MISSING
    }
    named: dict[str, Any] = {
        # A default of its own: what is not sent is left to the dataclass.
        name: (hint, Field(default=None) if name in optional else ...)
        for name, hint in {**hints, **forms}.items()
    }
    config = ConfigDict(strict=True, extra="allow")
    return create_model(kind.__name__, __config__=config, __doc__=kind.__doc__, **named)


def _in_json(hint: Any) -> Any:
    """Return what JSON has for a type: a list for a tuple, an object for a mapping or a dataclass."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return list[_in_json(arguments[0])]  # type: ignore[misc]
        values: Any = Union[tuple(map(_in_json, arguments))]  # noqa: UP007
        return Annotated[list[values], Field(min_length=len(arguments), max_length=len(arguments))]
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        key, value = map(_in_json, arguments)
        return dict[key, value]  # type: ignore[valid-type]
    if origin in (Union, types.UnionType):
        return Union[tuple(map(_in_json, arguments))]  # noqa: UP007
    return model_of(hint) if dataclasses.is_dataclass(hint) else hint
