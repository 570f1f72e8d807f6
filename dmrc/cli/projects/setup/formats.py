"""In which format the models of a project are wanted: in one that their engines load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dmrc.engines.choice import engine_for
from dmrc.engines.engine import Engine
from dmrc.errors import FormatError, InputError, ProjectError
from dmrc.project import ModelDeclaration
from dmrc.reference import Reference

Formats = frozenset[str] | None
"""Those that are wanted; None is any, a GGUF file before others."""


def wanted_formats(models: Iterable[ModelDeclaration], engines: Mapping[str, Engine]) -> dict[str, Formats]:
    """Return each model that must be in the store, by its reference, with the formats that serve all who declare it.

    An entry that names no engine is served by one that loads what there is.

    Raises:
        ProjectError: Two entries want one reference in different formats.
    """
    wanted: dict[str, Formats] = {}
    by: dict[str, ModelDeclaration] = {}
    for model in models:
        own = engines[model.loader].formats if model.loader in engines and model.options.engine else None
        for name in model.references:
            before = wanted.get(name)
            both = own if before is None else before if own is None else before & own
            if both is not None and not both:
                first = by[name]
                raise ProjectError(
                    f"models.{first.key} and models.{model.key} want '{name}' for the engines '{first.loader}' and"
                    f" '{model.loader}', which load no common format",
                    remedy=_other_name(name, own, "Name") or "Give one of them a model of another name",
                )
            wanted[name] = both
            if own is not None:
                by[name] = model
    return wanted


def refusal(
    error: FormatError, name: str, models: Iterable[ModelDeclaration], engines: Mapping[str, Engine]
) -> Exception:
    """Return the error for a model that is in a format which the engine of its entry does not load."""
    for model in models:
        if name in model.references:
            try:
                engine_for(engines, model.options.engine, error.model_format, name)
            except InputError as found:
                own = engines[model.loader].formats
                other = _other_name(name, own, "Or name")
                remedy = ". ".join(filter(None, (found.remedy, other)))
                return InputError(f"models.{model.key}: {found.message}", remedy=remedy)
    return error


def _other_name(name: str, formats: Formats, verb: str) -> str | None:
    """Return what to write for the same model in another format; only on Hugging Face there may be one."""
    reference = Reference.parse(name)
    if reference.registry != "huggingface.co":
        return None
    tags = [each for each in sorted(formats or ()) if each != reference.tag]
    return f"{verb} it by its format: hf.co/{reference.repository}:{tags[0]}" if tags else None
