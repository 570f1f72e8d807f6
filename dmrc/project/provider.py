"""A model as a provider service: `provider: {type: model, options: {model: ai/smollm2}}`.

Source: https://docs.docker.com/compose/how-tos/provider-services/, and for the options
https://github.com/docker/model-runner/blob/main/cmd/cli/commands/compose.go
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dmrc.errors import ProjectError
from dmrc.fields import mapping, refuse_unknown
from dmrc.project.binding import Binding
from dmrc.project.model import ModelDeclaration
from dmrc.project.service import Service
from dmrc.project.serving_options import DEFAULT_ENGINE

TYPES = ("model", "dmrc")
"""Values of `provider.type` that mean a model: Docker Model Runner's, and ours."""


@dataclass(frozen=True, slots=True)
class ProviderOption:
    """One option of such a provider."""

    description: str
    """What it is, for the metadata that Compose reads."""
    kind: str = "string"
    """`string`, `integer` or `number`."""
    required: bool = False
    """Whether there is no provider without it."""


OPTIONS: Mapping[str, ProviderOption] = {
    "model": ProviderOption("Model reference; may be a list", required=True),
    "context-size": ProviderOption("Tokens that each request may use; -1 is the default", "integer"),
    "runtime-flags": ProviderOption("Flags for the engine, in one string"),
    "backend": ProviderOption("Engine that serves it: llama.cpp"),
    "speculative-draft-model": ProviderOption("Smaller model with the same vocabulary that guesses ahead"),
    "speculative-num-tokens": ProviderOption("Tokens that it guesses ahead", "integer"),
    "speculative-min-acceptance-rate": ProviderOption("How likely a guess must be, 0 to 1", "number"),
    "keep-alive": ProviderOption("How long an idle model stays loaded: 5m, 0, -1"),
    "parallel": ProviderOption("Requests served at the same time", "integer"),
}
"""Compose passes on what the metadata names, and drops all else without a word."""

_UNSET = ("", "-1", "0")
"""What Docker Model Runner takes for an option that is not set."""


def declarations(service: str, options: Mapping[str, object], directory: Path) -> tuple[ModelDeclaration, ...]:
    """Return the models of a provider service; each has the key `SERVICE/MODEL`, which no key of a file looks like.

    Shape:
        `options` are as `docker compose config` prints them, each a text or a list of texts.

    Raises:
        ProjectError: An option is unknown, or holds what it cannot hold; it is named.
    """
    where = f"services.{service}.provider.options"
    refuse_unknown(options, OPTIONS, where)
    given = {name: _texts(value) for name, value in options.items()}
    one = {name: texts[-1].strip() for name, texts in given.items() if texts}
    if not given.get("model"):
        raise ProjectError(f"provider service '{service}' names no model", remedy="Add options: {model: ai/smollm2}")
    if (backend := one.get("backend", "")) not in ("", DEFAULT_ENGINE):
        raise ProjectError(
            f"{where}.backend is '{backend}', which does not serve here", remedy=f"Remove it, or write {DEFAULT_ENGINE}"
        )
    entry = {
        "context_size": None if (size := one.get("context-size", "")) in _UNSET else _number(size),
        "runtime_flags": [*_words(one.get("runtime-flags", ""), where), *_speculation(one, where)],
        "x-dmrc": {
            "draft": one.get("speculative-draft-model") or None,
            "keep_alive": one.get("keep-alive"),
            "parallel": _number(one["parallel"]) if "parallel" in one else None,
        },
    }
    try:
        return tuple(
            ModelDeclaration.parse(f"{service}/{model}", {"model": model, **entry}, directory)
            for model in dict.fromkeys(given["model"])
        )
    except ProjectError as error:
        raise ProjectError(f"provider service '{service}': {error.message}", remedy=error.remedy) from error


def provider_type(service: object) -> str | None:
    """Return what `provider: {type: …}` of a service says, as Compose prints it; None of one that is a program."""
    provider = service.get("provider") if isinstance(service, Mapping) else None
    return str(provider.get("type", "")) if isinstance(provider, Mapping) else None


@dataclass(frozen=True, slots=True)
class Provider:
    """A service that is one or several models."""

    kind: str
    """`provider.type`."""
    models: tuple[ModelDeclaration, ...]
    """Its models."""


def provided(services: Mapping[str, object], directory: Path) -> dict[str, Provider]:
    """Return those of the services, as Compose prints them, that are models.

    Raises:
        ProjectError: As `declarations`.
    """
    found = {}
    for name, value in services.items():
        where = f"services.{name}.provider"
        provider = mapping(mapping(value, f"services.{name}").get("provider"), where)
        if provider.get("type") in TYPES:
            options = mapping(provider.get("options"), f"{where}.options")
            found[name] = Provider(str(provider["type"]), declarations(name, options, directory))
    return found


def with_providers(services: Mapping[str, Service], providers: Mapping[str, Provider]) -> dict[str, Service]:
    """Return the services where those that depend on a provider use its models, by the variables that Compose sets."""
    result = {}
    for name, service in services.items():
        used = [each for each in service.depends_on if each in providers]
        bindings = tuple(binding for each in used for binding in _bindings(each, providers[each]))
        own = tuple(model.key for model in providers[name].models) if name in providers else ()
        result[name] = replace(service, bindings=(*service.bindings, *bindings), provides=own)
    return result


def _bindings(service: str, provider: Provider) -> list[Binding]:
    """Return what a dependant uses. Ours are as good as `models:`; Docker Model Runner's have two variables alone.

    Compose writes their names with the dashes of the service's name.
    """
    names = ",".join(model.model for model in provider.models)
    value = names if len(provider.models) > 1 else None
    variables = (f"{service.upper()}_URL", f"{service.upper()}_MODEL") if provider.kind == "model" else (None, None)
    return [Binding(model.key, variables[0], variables[1], value) for model in provider.models]


def _texts(value: object) -> Sequence[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


def _words(text: str, where: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ProjectError(f"{where}.runtime-flags cannot be split: {error}", remedy="Close its quotes") from error


def _speculation(one: Mapping[str, str], where: str) -> list[str]:
    """Return the flags that say how the draft is used. Without a draft they would have no effect."""
    flags = {"speculative-num-tokens": "--spec-draft-n-max", "speculative-min-acceptance-rate": "--draft-p-min"}
    given = {option: one[option] for option in flags if one.get(option, "") not in (*_UNSET, "0.0")}
    for option in given if not one.get("speculative-draft-model") else ():
        raise ProjectError(
            f"{where}.{option} has no effect without a draft", remedy="Add speculative-draft-model: ai/smaller"
        )
    return [word for option, value in given.items() for word in (flags[option], value)]
