"""A project as its page shows it: a card for each service, with what it was given and how a shell calls it. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmrc.compose.override import read_environments
from dmrc.compose.secrets import secrets_in
from dmrc.project import KEY_PREFIX
from dmrc.projects import WHOLE_PROJECT, Registration
from dmrc.settings import CaptureLevel
from dmrc.ui.project_figures import ModelState, link

_MASKED = "…"
_KEY = re.compile(rf"{re.escape(KEY_PREFIX)}[\w-]+")
_RECORDED: Mapping[CaptureLevel, str] = {
    "full": "prompts and answers are recorded",
    "metadata": "only figures are recorded",
    "off": "nothing is recorded",
}


@dataclass(frozen=True, slots=True)
class Variable:
    """One that a service was given."""

    name: str
    """Its name."""
    value: str
    """Its value, without what is secret in it."""
    is_masked: bool
    """Whether something was."""


@dataclass(frozen=True, slots=True)
class ServiceCard:
    """One service."""

    name: str
    """Its name; `WHOLE_PROJECT` for what all share."""
    title: str
    """The same for people."""
    models: Sequence[ModelState]
    """Its models, the default first."""
    variables: Sequence[Variable]
    """What it was given."""
    snippet: str
    """A program of a shell that asks its first model; "" where no command knows its key."""
    links: Mapping[str, str]
    """Filters of the record by what they lead to: `requests`, `errors`."""


@dataclass(frozen=True, slots=True)
class ProjectCard:
    """One project."""

    known: Registration
    """What the daemon knows of it."""
    recorded: str
    """What is on record of it, in words."""
    services: Sequence[ServiceCard]
    """Those that use models."""
    others: Sequence[str]
    """Those that use none."""
    override: str
    """The compose file that dmrc adds, masked, without the variables of the cards; "" where there is none."""


def project_card(
    known: Registration, models: Mapping[str, ModelState], override: Path, capture: CaptureLevel | None, port: int
) -> ProjectCard:
    """Return a project; `models` are its models by key, `override` the file that `dmrc up` wrote. Reads that file."""
    environments = read_environments(override)
    return ProjectCard(
        known=known,
        recorded=_RECORDED[known.capture or capture or "full"],
        services=[
            _service(known, name, [models[key] for key in keys], environments.get(name, {}), port)
            for name, keys in known.services.items()
        ],
        others=known.without_models,
        override=_override(override, environments),
    )


def _service(
    known: Registration, name: str, models: list[ModelState], given: Mapping[str, str], port: int
) -> ServiceCard:
    service = None if name == WHOLE_PROJECT else name
    return ServiceCard(
        name=name,
        title="Any service, by the project's URL" if service is None else name,
        models=models,
        variables=[_variable(one, value) for one, value in given.items()],
        snippet="" if service is None or not models else _snippet(known, name, models[0], given, port),
        links={
            "requests": link(known.name, service),
            "errors": link(known.name, service, errors="1"),
            "last": link(known.name, service, last="50"),
        },
    )


def _snippet(known: Registration, service: str, model: ModelState, given: Mapping[str, str], port: int) -> str:
    """Return a program that asks as the service does, from this machine: its key comes from `dmrc env`."""
    # A service that names its variables itself has the key under a name of its own.
    key = next((name for name, value in given.items() if value.startswith(KEY_PREFIX)), "OPENAI_API_KEY")
    name = model.declaration.key
    path, wish = {
        "embedding": ("embeddings", {"model": name, "input": "Hello"}),
        "rerank": ("rerank", {"model": name, "query": "Hello", "documents": ["Hi", "Goodbye"]}),
    }.get(model.mode, ("chat/completions", {"model": name, "messages": [{"role": "user", "content": "Hello"}]}))
    return (
        f"cd {shlex.quote(known.directory)}\n"
        f'eval "$(dmrc env {shlex.quote(service)} --format export)"\n'
        f"curl http://127.0.0.1:{port}/engines/v1/{path} \\\n"
        f'  --header "Authorization: Bearer ${key}" \\\n'
        f'  --header "Content-Type: application/json" \\\n'
        f"  --data {shlex.quote(json.dumps(wish))}"
    )


def _variable(name: str, value: str) -> Variable:
    shown = _masked(name, value)
    return Variable(name, shown, shown != value)


def _masked(name: str, value: str) -> str:
    """Return the value of a variable without what is secret in it; a key of ours may be a part of a URL."""
    if value.startswith(KEY_PREFIX):
        return f"{KEY_PREFIX}{_MASKED}"
    value = _KEY.sub(f"{KEY_PREFIX}{_MASKED}", value)
    for secret in secrets_in(name, value):
        value = value.replace(secret, _MASKED)
    return value


def _override(path: Path, environments: Mapping[str, Mapping[str, str]]) -> str:
    """Return the override file, with what `_masked` masks masked, and a line in the place of each list of variables."""
    try:
        text = path.read_text()
    except OSError:
        return ""
    text = _KEY.sub(f"{KEY_PREFIX}{_MASKED}", text)
    for variables in environments.values():
        for name, value in variables.items():
            for secret in secrets_in(name, value):
                text = text.replace(secret.replace("$", "$$"), _MASKED)
    return "\n".join(_without_variables(text.splitlines()))


def _without_variables(lines: Sequence[str]) -> Iterator[str]:
    inside: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.startswith("#") or (inside is not None and (indent > inside or not line.strip())):
            continue
        inside = None
        yield line
        if line.strip() == "environment:":
            inside = indent
            yield f"{' ' * (indent + 2)}# the variables above"
