"""Runtime flags: parsed and checked before anything starts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dmrc.engines.llama_cpp.flags_refused import FORBIDDEN
from dmrc.engines.llama_cpp.flags_table import DMRC, FLAGS, FORMER, Flag
from dmrc.errors import RuntimeFlagError
from dmrc.project import Mode
from dmrc.suggestions import closest

_BY_NAME = {name: flag for flag in FLAGS for name in flag.names}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_SHARES = re.compile(r"[0-9.]+(,[0-9.]+)*")
_LAYERS = re.compile(r"[0-9]+|-1|auto|all")


@dataclass(frozen=True, slots=True)
class Setting:
    """One flag as the project set it."""

    flag: Flag
    """Which."""
    written: str
    """The spelling used, for messages."""
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
        present, fixed = FORMER.get(name, (name, None))
        flag = _known(present)
        given: str | None = value if equals else None
        if fixed is not None or flag.kind in ("on", "off"):
            if given is not None:
                raise RuntimeFlagError(f"runtime flag '{name}' takes no value", remedy=f'Write ["{name}"]')
            given = fixed
        elif given is None:
            given = _next(words, name)
        if given is not None:
            _check_value(flag, name, given)
        settings.append(Setting(flag, name, given))
    return settings


def as_arguments(settings: Sequence[Setting]) -> list[str]:
    """Return flags as llama-server reads them, without those that dmrc itself acts on."""
    arguments = []
    for one in settings:
        if one.flag.attribute != DMRC:
            name = one.written if one.written in one.flag.names else one.flag.names[-1]
            arguments += [name] if one.value is None else [name, one.value]
    return arguments


def parallel(flags: Sequence[str]) -> int | None:
    """Return how many requests at the same time `-np` asks for; None without it.

    Raises:
        RuntimeFlagError: As `parse`.
    """
    asked = [int(one.value) for one in parse(flags) if one.flag.names[-1] == "--parallel" and one.value]
    return asked[-1] if asked else None


def mode(flags: Sequence[str]) -> Mode | None:
    """Return what `--embeddings` or `--reranking` says that the model is for; None without them.

    Raises:
        RuntimeFlagError: As `parse`.
    """
    names = {one.flag.names[-1] for one in parse(flags)}
    if "--reranking" in names:
        return "rerank"
    return "embedding" if "--embeddings" in names else None


def refuse_without_binary(settings: Sequence[Setting]) -> None:
    """Refuse the flags that only a llama-server binary has.

    Raises:
        RuntimeFlagError: One is set.
    """
    for one in settings:
        if one.flag.attribute is None:
            raise RuntimeFlagError(
                f"runtime flag '{one.written}' needs a llama-server binary",
                remedy="Install llama.cpp, or set DMRC_LLAMA_SERVER to a llama-server binary",
            )


def _known(name: str) -> Flag:
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name in FORBIDDEN:
        raise RuntimeFlagError(f"runtime flag '{name}' is not allowed: {FORBIDDEN[name]}", remedy="Remove it")
    if not name.startswith("-"):
        raise RuntimeFlagError(f"'{name}' is not a runtime flag", remedy='Write ["--temp", "0.2"], for example')
    near = closest(name, [*_BY_NAME, *FORMER], most=3, least_likeness=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else "See llama-server's documentation"
    raise RuntimeFlagError(f"runtime flag '{name}' is unknown", remedy=hint)


def _next(words: Iterator[str], name: str) -> str:
    value = next(words, None)
    if value is None or value in _BY_NAME or value in FORMER or value in FORBIDDEN:
        raise RuntimeFlagError(f"runtime flag '{name}' has no value", remedy=f'Write ["{name}", "…"]')
    return value


def _check_value(flag: Flag, name: str, value: str) -> None:
    # As in Docker Model Runner: a compose file from elsewhere must not name files of this machine. Grammars, templates
    # and schemas need both characters, and llama.cpp never reads those flags as a file's name.
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
    if flag.names[-1] == "--n-gpu-layers":
        return None if _LAYERS.fullmatch(value) else "a number of layers, auto or all"
    if flag.names[-1] == "--tensor-split":
        return None if _SHARES.fullmatch(value) else "a list of shares, such as 3,1"
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
