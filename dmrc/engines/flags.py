"""Runtime flags: parsed and checked before anything starts."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dmrc.engines.flags_table import FLAGS, FORBIDDEN, Flag
from dmrc.errors import RuntimeFlagError

_BY_NAME = {name: flag for flag in FLAGS for name in flag.names}


@dataclass(frozen=True, slots=True)
class Setting:
    """One flag as the project set it."""

    flag: Flag
    """Which."""
    written: str
    """The spelling used."""
    value: str | None
    """What follows it; None for a switch."""


def parse(flags: Sequence[str]) -> list[Setting]:
    """Read flags in the forms `--flag value` and `--flag=value`.

    Raises:
        RuntimeFlagError: One is unknown, forbidden, or has no value or a bad one; it is named.
    """
    settings = []
    words = iter(flags)
    for word in words:
        name, equals, value = word.partition("=")
        flag = _known(name)
        given: str | None = value if equals else None
        if flag.kind in ("on", "off"):
            if given is not None:
                raise RuntimeFlagError(f"runtime flag '{name}' takes no value")
        elif given is None:
            given = _next(words, name)
        if given is not None:
            _check_value(flag, name, given)
        settings.append(Setting(flag, name, given))
    return settings


def as_arguments(settings: Sequence[Setting]) -> list[str]:
    """Return flags as llama-server reads them."""
    return [word for one in settings for word in ([one.written] if one.value is None else [one.written, one.value])]


def refuse_without_binary(settings: Sequence[Setting]) -> None:
    """Refuse the flags that only a llama-server binary has.

    Raises:
        RuntimeFlagError: One is set.
    """
    for one in settings:
        if one.flag.attribute is None:
            raise RuntimeFlagError(
                f"runtime flag '{one.written}' needs a llama-server binary",
                remedy="Install llama.cpp, or set DMRC_LLAMA_SERVER to its llama-server",
            )


def _known(name: str) -> Flag:
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name in FORBIDDEN:
        raise RuntimeFlagError(f"runtime flag '{name}' is not allowed: {FORBIDDEN[name]}", remedy="Remove it")
    if not name.startswith("-"):
        raise RuntimeFlagError(f"'{name}' is no runtime flag", remedy='Write ["--temp", "0.2"], for example')
    near = difflib.get_close_matches(name, _BY_NAME, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else "See llama-server's documentation"
    raise RuntimeFlagError(f"runtime flag '{name}' is unknown", remedy=hint)


def _next(words: Iterator[str], name: str) -> str:
    value = next(words, None)
    if value is None:
        raise RuntimeFlagError(f"runtime flag '{name}' has no value", remedy=f'Write ["{name}", "…"]')
    return value


def _check_value(flag: Flag, name: str, value: str) -> None:
    # As in Docker Model Runner: a compose file from elsewhere must not name files of this machine.
    if flag.kind != "text" and ("/" in value or "\\" in value):
        raise RuntimeFlagError(f"the value of runtime flag '{name}' looks like a path", remedy="Paths are not allowed")
    try:
        if flag.kind == "int":
            int(value)
        elif flag.kind == "float":
            float(value)
        elif flag.kind == "choice" and value not in dict(flag.choices):
            raise ValueError
    except ValueError as error:
        wanted = {"int": "a whole number", "float": "a number"}.get(flag.kind)
        wanted = wanted or f"one of {', '.join(word for word, _ in flag.choices)}"
        raise RuntimeFlagError(f"runtime flag '{name}' is '{value}', which is not {wanted}") from error
