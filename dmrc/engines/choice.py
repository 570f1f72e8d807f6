"""Which engine serves a model: the one that is named, or one that loads its format."""

from __future__ import annotations

from collections.abc import Mapping

from dmrc.engines.engine import Engine
from dmrc.errors import InputError
from dmrc.project import CONTAINER_ENGINE, DEFAULT_ENGINE
from dmrc.suggestions import did_you_mean


def engine_for(engines: Mapping[str, Engine], wanted: str | None, model_format: str, name: str) -> Engine:
    """Return the engine that is named, or the one that serves the format of model `name` where none is.

    Of several that do, the usual one goes before others, and one for this format alone before one for more.

    Raises:
        InputError: There is none of that name, or it does not serve that format.
    """
    able = sorted(
        (each for each, engine in engines.items() if model_format in engine.formats),
        key=lambda each: (each != DEFAULT_ENGINE, len(engines[each].formats)),
    )
    # A container takes any format, by an image that somebody has to name.
    unnamed = [each for each in able if each != CONTAINER_ENGINE]
    chosen = wanted or next(iter(unnamed), DEFAULT_ENGINE)
    if chosen not in able:
        engine_of_files(engines, chosen)
        raise InputError(
            f"model '{name}' is in the format '{model_format}', which engine '{chosen}' does not serve",
            remedy=f"Name one that does: x-dmrc: {{engine: {unnamed[0]}}}"
            if unnamed
            else "Use a model in another format",
        )
    return engines[chosen]


def engine_of_files(engines: Mapping[str, Engine], name: str) -> Engine:
    """Return the engine of that name, which must be one that serves models of the store.

    Raises:
        InputError: There is none, or it serves no files.
    """
    usable = [known for known, engine in engines.items() if engine.formats]
    if name not in engines:
        raise InputError(
            f"there is no engine '{name}'{did_you_mean(name, usable)}", remedy=f"Known: {', '.join(usable)}"
        )
    if name not in usable:
        raise InputError(f"engine '{name}' serves no model of the store", remedy=f"Use one of {', '.join(usable)}")
    return engines[name]
