"""What a field of a caller's must be. The record's readers take anything for nothing; a request is refused. Pure."""

from __future__ import annotations

from dmrc.errors import InputError
from dmrc.exchange import JsonValue

Document = dict[str, JsonValue]


def given_object(value: JsonValue, name: str) -> Document:
    """Return an object; an empty one where nothing is given.

    Raises:
        InputError: It is something else; `name` is how the caller calls it.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"'{name}' is no object")
    return value


def given_objects(value: JsonValue, name: str) -> list[Document]:
    """Return a list of objects; an empty one where nothing is given.

    Raises:
        InputError: It is something else, or one of them is; it is named by its place.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(f"'{name}' is no list")
    return [_one(item, f"{name}[{number}]") for number, item in enumerate(value)]


def _one(item: JsonValue, name: str) -> Document:
    if not isinstance(item, dict):
        raise InputError(f"'{name}' is no object")
    return item
