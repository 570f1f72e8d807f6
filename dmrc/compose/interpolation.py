"""`${VARIABLE}` in the values of a compose file and of an env file, as Compose replaces it.

Source: https://docs.docker.com/reference/compose-file/interpolation/
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping

from dmrc.errors import ProjectError

_LOG = logging.getLogger(__name__)

# One reference. `braced` runs to the last brace of its line, for a default may hold references
# of its own; `_closing_brace` then finds where it really ends.
# Source: https://github.com/compose-spec/compose-go/blob/main/template/template.go
_REFERENCE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<named>[_a-z][_a-z0-9]*)"
    r"|\{(?:(?P<braced>[_a-z][_a-z0-9]*(?::?[-+?].*)?)\}|(?P<invalid>)))",
    re.IGNORECASE,
)
_BRACED = re.compile(
    r"\$\{(?P<name>[_a-z][_a-z0-9]*)(?:(?P<colon>:?)(?P<operator>[-+?])(?P<word>.*))?\}", re.IGNORECASE
)

_ANY_REFERENCE = re.compile(r"\$\{?([_a-z][_a-z0-9]*)", re.IGNORECASE)

_PLAIN_REFERENCE = re.compile(r"\$(?:([_a-z][_a-z0-9]*)|\{([_a-z][_a-z0-9]*)\})", re.IGNORECASE)

Lookup = Callable[[str], str | None]
"""Returns a variable's value, or None where it is not set."""


def substitute(text: str, lookup: Lookup) -> str:
    """Return `text` with every reference replaced, and `$$` turned into `$`.

    Shape:
        `$V ${V} ${V:-default} ${V-default} ${V:?error} ${V?error} ${V:+word} ${V+word}`, where
        default, error and word may hold references. A `$` that starts none of these stays.

    Raises:
        ProjectError: A required variable is missing, or `${` starts no reference.
    """

    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        if match["named"]:
            return _value_or_blank(match["named"], lookup)
        if match["braced"]:
            return _replace_braced(match[0], text, lookup)
        raise _no_reference(text)

    return _REFERENCE.sub(replace, text)


def referenced(text: str) -> set[str]:
    """Return the names of the variables that a text refers to, whatever stands around them."""
    return set(_ANY_REFERENCE.findall(text))


def filled(value: object, known: Mapping[str, str]) -> object:
    """Return a copy of a YAML `value` with what is known put in, and nothing for the rest; never raises or warns."""
    if isinstance(value, str):
        blank = {name: "" for match in _PLAIN_REFERENCE.finditer(value) for name in match.groups() if name}
        try:
            return substitute(value, {**blank, **known}.get)
        except ProjectError:
            return value
    if isinstance(value, Mapping):
        return {name: filled(item, known) for name, item in value.items()}
    return [filled(item, known) for item in value] if isinstance(value, list) else value


def interpolate(value: object, lookup: Lookup, *, key: str = "") -> object:
    """Return a copy of a YAML `value` with every reference in its strings replaced.

    Keys are left alone, and so is everything that YAML itself made a number or a boolean: what a
    reference becomes is always a string.

    Raises:
        ProjectError: As `substitute`; the message starts with the key, `services.app.image`.
    """
    if isinstance(value, str):
        try:
            return substitute(value, lookup)
        except ProjectError as error:
            raise ProjectError(f"{key}: {error.message}", remedy=error.remedy) from error
    if isinstance(value, Mapping):
        prefix = f"{key}." if key else ""
        return {name: interpolate(item, lookup, key=f"{prefix}{name}") for name, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item, lookup, key=f"{key}[{index}]") for index, item in enumerate(value)]
    return value


def _replace_braced(matched: str, text: str, lookup: Lookup) -> str:
    """Replace the reference that `matched` starts with, and those in what follows its brace."""
    end = _closing_brace(matched) + 1
    match = _BRACED.fullmatch(matched[:end])
    if match is None:
        raise _no_reference(text)
    rest = substitute(matched[end:], lookup)
    if match["operator"] is None:
        return _value_or_blank(match["name"], lookup) + rest
    return _apply_operator(match, lookup) + rest


def _apply_operator(match: re.Match[str], lookup: Lookup) -> str:
    """Return what `${NAME:-word}` and its five sisters stand for."""
    name, operator, word = match["name"], match["operator"], match["word"]
    value = lookup(name)
    counts = value is not None and not (match["colon"] and value == "")
    if operator == "-":
        return value if counts and value is not None else substitute(word, lookup)
    if operator == "+":
        return substitute(word, lookup) if counts else value or ""
    if counts and value is not None:
        return value
    reason = substitute(word, lookup)
    raise ProjectError(
        f"required variable {name} is missing a value" + (f": {reason}" if reason else ""),
        remedy=f"Set {name} in the environment or in the project's .env",
    )


def _value_or_blank(name: str, lookup: Lookup) -> str:
    """Return the variable's value; where it is not set, say so and return a blank string."""
    value = lookup(name)
    if value is None:
        _LOG.warning("variable %s is not set, a blank string stands in for it", name)
        return ""
    return value


def _closing_brace(text: str) -> int:
    """Return where the first brace of `text` is closed again, or -1."""
    depth = 0
    position = 0
    while position < len(text):
        if text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        elif text[position] == "{":
            depth += 1
            # Compose never looks at the character after an opening brace.
            position += 1
        position += 1
    return -1


def _no_reference(text: str) -> ProjectError:
    """Refuse a `${` that starts no reference."""
    return ProjectError(f"{text!r} holds a '${{' that starts no ${{VARIABLE}}", remedy="Write $$ where a $ is meant")
