"""What a field of a caller's must be. The record's readers take anything for nothing; a request is refused. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject


@dataclass(frozen=True, slots=True)
class FieldType:
    """What a value must be."""

    otherwise: str
    """What a message says of one that is not."""
    is_met: Callable[[JsonValue], bool]
    """Whether a value is one."""


def _is_whole(value: JsonValue) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: JsonValue) -> JsonValue:
    """Return a whole number as one, however it is written."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _are_texts(value: JsonValue) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


TEXT = FieldType("must be a string", lambda value: isinstance(value, str))
FLAG = FieldType("must be true or false", lambda value: isinstance(value, bool))
LIST = FieldType("must be a list", lambda value: isinstance(value, list))
OBJECT = FieldType("must be an object", lambda value: isinstance(value, dict))
NUMBER = FieldType("must be a number", lambda value: isinstance(value, float) or _is_whole(value))
WHOLE = FieldType("must be a whole number", _is_whole)
COUNT = FieldType(
    "must be a whole number above 0", lambda value: isinstance(value, int) and _is_whole(value) and value > 0
)
WHOLE_VALUE = FieldType("must be a whole number", lambda value: _is_whole(_number(value)))
"""Also one that is written as `3.0`."""
AMOUNT = FieldType(
    "must be a whole number, 0 or above", lambda value: _is_whole(number := _number(value)) and number >= 0
)
TEXTS = FieldType("must be a list of strings", lambda value: _are_texts(value))
TEXT_OR_TEXTS = FieldType(
    "must be a string or a list of strings", lambda value: isinstance(value, str) or _are_texts(value)
)
LIST_OR_OBJECT = FieldType("must be an object", lambda value: isinstance(value, list | dict))
"""Of `logit_bias`: llama.cpp takes a list of pairs, too."""


def check_kinds(document: Mapping[str, JsonValue], kinds: Mapping[str, FieldType], where: str = "") -> None:
    """Check the fields that are given; `where` is what a message says after a field's name.

    Raises:
        InputError: One is of another kind.
    """
    for name, value in document.items():
        if value is not None and (kind := kinds.get(name)) is not None and not kind.is_met(value):
            raise InputError(f"'{name}'{where} {kind.otherwise}")


def check_one_of(name: str, value: JsonValue, known: Collection[str]) -> None:
    """Check a value that is given.

    Raises:
        InputError: It is none of those that are known; `name` is how the caller calls it.
    """
    if value is not None and value not in known:
        raise InputError(
            f"'{name}' is {json.dumps(value)[:40]}, which is not done here", remedy=f"Use {', '.join(known)}"
        )


def given_object(value: JsonValue, name: str) -> JsonObject:
    """Return an object; an empty one where nothing is given.

    Raises:
        InputError: It is something else; `name` is how the caller calls it.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"'{name}' must be an object")
    return value


def given_objects(value: JsonValue, name: str) -> list[JsonObject]:
    """Return a list of objects; an empty one where nothing is given.

    Raises:
        InputError: It is something else, or one of them is; it is named by its place.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(f"'{name}' must be a list")
    return [_one(item, f"{name}[{number}]") for number, item in enumerate(value)]


def _one(item: JsonValue, name: str) -> JsonObject:
    if not isinstance(item, dict):
        raise InputError(f"'{name}' must be an object")
    return item
