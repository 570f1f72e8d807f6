"""Runtime flags: parsed and checked, by the table of an engine, before anything starts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dmrc.errors import RuntimeFlagError
from dmrc.suggestions import closest

FlagKind = Literal["int", "float", "text", "json", "word", "choice", "on", "off"]

DMRC = "dmrc"
"""In place of an attribute: the flag is a wish to dmrc, and never reaches the engine."""

_INTEGER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag that a project may set."""

    names: tuple[str, ...]
    """All spellings; the last one is what code calls it."""
    kind: FlagKind
    """What follows it: a value of that type (`word` is text that cannot be a path), or for `on` and `off` nothing."""
    attribute: str | None = None
    """Dotted place in xllamacpp's `CommonParams`, or several with spaces; None: only a llama-server binary has it."""
    choices: tuple[tuple[str, str], ...] = ()
    """For `choice`: word and name (or digits) of the value in xllamacpp. For `on`: one pair, where it is not True."""
    at_least: float | None = None
    """Smallest number; None is any."""
    at_most: float = (1 << 31) - 1
    """Largest whole number; llama.cpp keeps them in 32 bits."""
    pattern: tuple[str, str] | None = None
    """For `word`: a regular expression that the value must match, and what messages say that it must be."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One flag as the project set it."""

    flag: Flag
    """Which."""
    written: str
    """The spelling used, for messages."""
    value: str | None
    """What follows it; None for a switch."""


class FlagTable:
    """The flags that projects may set for one engine, and those that they may not."""

    def __init__(
        self,
        flags: Sequence[Flag],
        forbidden: Mapping[str, str],
        former: Mapping[str, tuple[str, str]] | None = None,
        *,
        example: str,
        documentation: str,
    ) -> None:
        """Know `flags`; those that are `forbidden` with the reason, and `former` ones with the flag that each is now.

        `example` is how messages write a flag, and `documentation` is where the engine explains its own.
        """
        self._by_name = {name: flag for flag in flags for name in flag.names}
        self._forbidden = forbidden
        self._former = former or {}
        self._example = example
        self._documentation = documentation

    def parse(self, flags: Sequence[str]) -> list[Setting]:
        """Read flags in the forms `--flag value` and `--flag=value`.

        Raises:
            RuntimeFlagError: One is unknown, forbidden, or has no value or a bad one; it is named.
        """
        settings = []
        words = iter(flags)
        for word in words:
            name, equals, value = word.partition("=")
            present, fixed = self._former.get(name, (name, None))
            flag = self._known(present)
            given: str | None = value if equals else None
            if fixed is not None or flag.kind in ("on", "off"):
                if given is not None:
                    raise RuntimeFlagError(f"runtime flag '{name}' takes no value", remedy=f'Write ["{name}"]')
                given = fixed
            elif given is None:
                given = self._next(words, name)
            if given is not None:
                _check_value(flag, name, given)
            settings.append(Setting(flag, name, given))
        return settings

    def _known(self, name: str) -> Flag:
        if name in self._by_name:
            return self._by_name[name]
        if name in self._forbidden:
            raise RuntimeFlagError(f"runtime flag '{name}' is not allowed: {self._forbidden[name]}", remedy="Remove it")
        if not name.startswith("-"):
            raise RuntimeFlagError(f"'{name}' is not a runtime flag", remedy=f"Write {self._example}, for example")
        near = closest(name, [*self._by_name, *self._former], most=3, least_likeness=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"See {self._documentation}"
        raise RuntimeFlagError(f"runtime flag '{name}' is unknown", remedy=hint)

    def _next(self, words: Iterator[str], name: str) -> str:
        value = next(words, None)
        if value is None or value in self._by_name or value in self._former or value in self._forbidden:
            raise RuntimeFlagError(f"runtime flag '{name}' has no value", remedy=f'Write ["{name}", "…"]')
        return value


def as_arguments(settings: Sequence[Setting]) -> list[str]:
    """Return flags as the engine reads them, without those that dmrc itself acts on."""
    arguments = []
    for one in settings:
        if one.flag.attribute != DMRC:
            name = one.written if one.written in one.flag.names else one.flag.names[-1]
            arguments += [name] if one.value is None else [name, one.value]
    return arguments


def _check_value(flag: Flag, name: str, value: str) -> None:
    # As in Docker Model Runner: a compose file from elsewhere must not name files of this machine. Grammars, templates
    # and schemas need both characters, and no engine reads those flags as a file's name.
    if flag.kind not in ("text", "json") and ("/" in value or "\\" in value):
        raise RuntimeFlagError(f"the value of runtime flag '{name}' looks like a path", remedy="Paths are not allowed")
    wanted = _wanted(flag, value)
    if wanted is not None:
        shown = value if len(value) <= 40 else f"{value[:40]}…"
        raise RuntimeFlagError(f"runtime flag '{name}' must be {wanted}, not '{shown}'")


def _wanted(flag: Flag, value: str) -> str | None:
    """Return what a value should be and is not; None for a good one."""
    match flag.kind:
        case "int" | "float":
            return _wanted_number(flag, value)
        case "choice":
            words = [word for word, _ in flag.choices]
            return None if value in words else f"one of {', '.join(words)}"
        case "json":
            return None if _is_json_object(value) else "a JSON object"
    if flag.pattern is not None:
        return None if re.fullmatch(flag.pattern[0], value) else flag.pattern[1]
    return None if value else "a value"


def _wanted_number(flag: Flag, value: str) -> str | None:
    if flag.kind == "int" and not _INTEGER.fullmatch(value):
        return "a whole number"
    try:
        number = float(value)
    except ValueError:
        return "a number"
    if not math.isfinite(number):
        return "a number"
    if flag.at_least is not None and number < flag.at_least:
        return f"at least {flag.at_least:g}"
    if flag.kind == "int" and abs(number) > flag.at_most:
        return f"at most {flag.at_most:.0f}"
    return None


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
