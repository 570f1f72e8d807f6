"""Which engine serves a model: the one that is named, or one that loads its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dmrc.engines.engine import Engine
from dmrc.engines.engine_state import is_installed
from dmrc.errors import InputError
from dmrc.project import DEFAULT_ENGINE
from dmrc.suggestions import did_you_mean


def engine_for(engines: Mapping[str, Engine], wanted: str | None, model_format: str, name: str) -> Engine:
    """Return the engine that is named, or the one that serves the format of model `name` where none is.

    Of several that do, the usual one goes before others, and else one that is installed before one that is not.

    Raises:
        InputError: There is none of that name, or it does not serve that format.
    """
    able = [each for each, engine in engines.items() if model_format in engine.formats]
    if wanted in able:
        return engines[wanted]
    best = _best([engines[each] for each in able if not engines[each].is_only_by_name])
    if wanted is None and best is not None:
        return best
    chosen = wanted or DEFAULT_ENGINE
    engine_of_files(engines, chosen)
    raise InputError(
        f"model '{name}' is in the format '{model_format}', which engine '{chosen}' does not serve",
        remedy=f"Name one that does: x-dmrc: {{engine: {best.name}}}" if best else "Use a model in another format",
    )


def _best(able: Sequence[Engine]) -> Engine | None:
    usual = next((each for each in able if each.name == DEFAULT_ENGINE), None)
    return usual or next((each for each in able if is_installed(each)), next(iter(able), None))


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
