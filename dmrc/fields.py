"""Typed reading of untyped documents (YAML, JSON): each function returns a value of its type, or names the place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from dmrc.errors import ProjectError
from dmrc.suggestions import did_you_mean

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
"""A value as JSON has them."""

JsonObject = dict[str, JsonValue]
"""An object as JSON has them."""

_Word = TypeVar("_Word", bound=str)


def mapping(value: object, where: str) -> Mapping[str, object]:
    """Return a mapping with text keys; None is an empty one.

    Raises:
        ProjectError: It is something else. All functions here raise the same.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ProjectError(f"{where} must be a mapping, not {value!r}")
    return {str(key): entry for key, entry in value.items()}


def text(value: object, where: str) -> str:
    """Return a text that is not blank."""
    if isinstance(value, str) and value.strip():
        return value
    raise ProjectError(f"{where} must be a string, not {value!r}")


def strings(value: object, where: str, example: str = '["--temp", "0.2"]') -> tuple[str, ...]:
    """Return a list of strings; None is an empty one. `example` is what the error says to write."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ProjectError(f"{where} must be a list of strings", remedy=f"Write {example}, for example")
    return tuple(value)


def positive(value: object, where: str, example: int = 4096) -> int | None:
    """Return a whole number above 0; None stays None. `example` is what the error says to write."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        remedy = f"Write {example}, for example"
        raise ProjectError(f"{where} must be a whole number above 0, not {value!r}", remedy=remedy)
    return value


def one_of(value: object, where: str, words: Sequence[_Word]) -> _Word:
    """Return which one of two words or more it is."""
    for word in words:
        if value == word:
            return word
    raise ProjectError(f"{where} must be {', '.join(words[:-1])} or {words[-1]}, not {value!r}")


def plain(value: object, where: str) -> JsonValue:
    """Return a value that JSON can hold."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [plain(entry, where) for entry in value]
    if isinstance(value, Mapping):
        return {str(key): plain(entry, f"{where}.{key}") for key, entry in value.items()}
    raise ProjectError(f"{where} is {value!r}, which JSON cannot hold", remedy="Put it in quotes")


def refuse_unknown(fields: Mapping[str, object], known: Iterable[str], where: str) -> None:
    """Refuse fields that are neither known nor an extension (`x-…`); all of them are told."""
    unknown = [
        f"'{name}'{did_you_mean(name, known)}" for name in fields if name not in known and not name.startswith("x-")
    ]
    if unknown:
        raise ProjectError(f"{where} has no field {' and no '.join(unknown)}", remedy=f"Known: {', '.join(known)}")


class Faults:
    """What is wrong in several places of a document, so that all of it is told at once.

    Each place is read under `noted`; what was read may be used after `tell`.
    """

    def __init__(self) -> None:
        """Begin with nothing wrong."""
        self._found: list[ProjectError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Keep what is wrong with this place, and go on."""
        try:
            yield
        except ProjectError as error:
            self._found.append(error)

    def tell(self) -> None:
        """Raise all that was wrong, as one error; do nothing where nothing was.

        The remedy is the one that all of them have; where they differ, each stands behind its fault.
        """
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            remedies = list(dict.fromkeys(error.remedy for error in self._found))
            if len(remedies) == 1:
                raise ProjectError("; ".join(error.message for error in self._found), remedy=remedies[0])
            raise ProjectError("; ".join(map(str, self._found)))
