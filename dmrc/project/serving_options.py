"""How a model is to be served: each field once, with its place in a compose file, its check and its form in JSON.

A new field of `x-dmrc` under a model is one line of `ServingOptions`, and the engine that uses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from dmrc.fields import Faults, JsonValue, one_of, positive, strings, text
from dmrc.project.host import parse_host
from dmrc.project.keep_alive import parse_keep_alive
from dmrc.project.option_fields import (
    FieldPlace,
    OptionField,
    checked_by,
    described,
    is_path,
    overrides,
    path_or_reference,
    paths_or_references,
    project_path,
    share,
    without_secrets,
)
from dmrc.project.replica_range import ReplicaRange, cluster_address
from dmrc.project.upstream import Upstream

Mode = Literal["completion", "embedding", "rerank"]
"""What a model is loaded for; llama.cpp's server does one of these at a time."""

GpuNeed = Literal["auto", "required"]
"""Whether a model may be computed by the processor where no card has room for all of it."""

GPU_NEEDS = get_args(GpuNeed)

Origin = Literal["compose", "command line", "package", "default"]
"""Who says a value, the strongest first: a compose file is what a team has agreed on, and no wish of one machine
changes it."""

DEFAULT_ENGINE = "llama.cpp"
"""Engine of a model that names none."""

DEFAULT_CONTEXT_SIZE = 4096
"""Tokens per request where neither the project nor the package says; never the trained maximum, which may not fit."""

DEFAULT_KEEP_ALIVE_SECONDS = 300.0
"""How long an idle runner stays loaded. Source: Docker Model Runner and Ollama have the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """What one source, or all of them together, say of how a model is served; None where nothing is said."""

    context_size: int | None = field(default=None, metadata=described(checked_by(positive), section="", is_local=True))
    """Tokens that each request may use."""
    runtime_flags: tuple[str, ...] | None = field(
        default=None,
        metadata=described(
            lambda value, place: strings(value, place.where) or None, section="", is_local=True, from_json=tuple
        ),
    )
    """Flags for the engine, as written, all of them: a list is one value."""
    engine: str | None = field(default=None, metadata=described(checked_by(text)))
    """Name of the engine."""
    keep_alive_seconds: float | None = field(
        default=None,
        metadata=described(
            checked_by(parse_keep_alive),
            written="keep_alive",
            names_runner=False,
            to_json=lambda seconds: -1 if seconds == math.inf else seconds,  # JSON holds no infinity
            from_json=lambda seconds: math.inf if seconds == -1 else seconds,
        ),
    )
    """How long an idle runner stays loaded; 0 is not at all, inf is for ever, and pins it."""
    parallel: int | None = field(
        default=None, metadata=described(lambda value, place: positive(value, place.where, example=2))
    )
    """Requests served at the same time; None lets dmrc choose by the memory there is."""
    device: str | None = field(default=None, metadata=described(checked_by(text), is_local=True))
    """Which graphics card computes it, as its engine calls it; `cpu` is none, `auto` any."""
    gpu: GpuNeed | None = field(
        default=None, metadata=described(lambda value, place: one_of(value, place.where, GPU_NEEDS), is_local=True)
    )
    """Whether all of it that a card can hold must be on one."""
    upstream: Upstream | None = field(
        default=None,
        metadata=described(
            lambda value, place: Upstream.parse(value, place.model, place.where),
            to_json=lambda upstream: upstream.to_json(),
            from_json=lambda document: Upstream.from_json(document),
        ),
    )
    """The server that serves it instead of an engine of ours."""
    host: str | None = field(default=None, metadata=described(checked_by(parse_host)))
    """The machine whose dmrc serves it: `ssh://me@box`."""
    loras: tuple[str, ...] | None = field(
        default=None,
        metadata=described(paths_or_references, written="lora", file="model", is_local=True, from_json=tuple),
    )
    """LoRA adapters: absolute paths of GGUF files or of directories of safetensors, or references."""
    draft: str | None = field(default=None, metadata=described(path_or_reference, file="model", is_local=True))
    """Smaller model with the same vocabulary that guesses ahead: an absolute path or a reference."""
    mmproj: str | None = field(default=None, metadata=described(project_path, file="any", is_local=True))
    """Absolute path of a multimodal projector, before the one of the package."""
    chat_template: str | None = field(default=None, metadata=described(project_path, file="text", is_local=True))
    """Absolute path of a Jinja template, before the one of the package."""
    hf_overrides: str | None = field(default=None, metadata=described(checked_by(overrides), is_local=True))
    """What replaces entries of the model's `config.json`, a JSON object: for vLLM."""
    gpu_memory_utilization: float | None = field(default=None, metadata=described(checked_by(share), is_local=True))
    """Share of a graphics card's memory that the engine may take, above 0 and up to 1: for vLLM."""
    image: str | None = field(default=None, metadata=described(checked_by(text), is_local=True))
    """Image of a container: its name, or `auto`."""
    command: tuple[str, ...] | None = field(
        default=None,
        metadata=described(
            lambda value, place: strings(value, place.where, '["{model}", "--port", "{port}"]') or None,
            is_local=True,
            from_json=tuple,
        ),
    )
    """What the entry point of the image is given; None: it is llama.cpp's server."""
    replicas: ReplicaRange | None = field(
        default=None,
        metadata=described(
            checked_by(ReplicaRange.parse),
            is_local=True,
            to_json=lambda replicas: replicas.to_json(),
            from_json=lambda document: ReplicaRange.from_json(document),
        ),
    )
    """How many servers of it there may be on a cluster."""
    ray_address: str | None = field(
        default=None, metadata=described(checked_by(cluster_address), written="ray", is_local=True)
    )
    """Address of the cluster of Ray that serves it."""
    mode: Mode | None = None
    """What the model is loaded for before a request says it: by `dmrc up`."""
    reasoning_budget: int | None = None
    """Tokens that the model may think for; 0 is none, -1 any number."""
    draft_tokens: int | None = None
    """Most tokens that the draft guesses at a time."""
    draft_acceptance: float | None = None
    """How sure it must be of a token, from 0 to 1."""

    @classmethod
    def parse(cls, document: Mapping[str, Mapping[str, object]], place: FieldPlace, faults: Faults) -> ServingOptions:
        """Read what a compose file says of one model; what is wrong goes to `faults`.

        `document` has the fields of each section: `{"": {"context_size": 4096}, "x-dmrc": {"parallel": 2}}`.
        """
        said: dict[str, Any] = {}
        for name, option in OPTIONS.items():
            value = document[option.section].get(option.written)
            if option.read is None or value is None:
                continue
            where = ".".join(filter(None, (place.where, option.section, option.written)))
            with faults.noted():
                said[name] = option.read(value, replace(place, where=where))
        return cls(**said)

    def said(self) -> dict[str, Any]:
        """Return the fields that say something, by name."""
        return {name: value for name in OPTIONS if (value := getattr(self, name)) is not None}

    def over(self, weaker: ServingOptions) -> ServingOptions:
        """Return these options, completed by weaker ones."""
        return replace(weaker, **self.said())

    def to_json(self) -> dict[str, JsonValue]:
        """Return what is said as JSON can hold it."""
        return {name: OPTIONS[name].to_json(value) for name, value in self.said().items()}

    def naming_a_runner(self) -> dict[str, JsonValue]:
        """Return what tells a runner with these options from another one, as JSON can hold it."""
        return {name: value for name, value in self.to_json().items() if OPTIONS[name].names_runner}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ServingOptions:
        """Read what `to_json` returned, here or in another version: fields that are not known are left out."""
        given = {name: document[name] for name in OPTIONS if document.get(name) is not None}
        return cls(**{name: OPTIONS[name].from_json(value) for name, value in given.items()})

    def without_secrets(self) -> ServingOptions:
        """Return them as others than the command that pulls may know them."""
        return self.with_files(lambda name, _field: name if is_path(name) else without_secrets(name))

    def with_files(self, change: Callable[[str, OptionField], str]) -> ServingOptions:
        """Return these options with each path and each reference changed."""
        changed: dict[str, Any] = {}
        for name, value in self.said().items():
            option = OPTIONS[name]
            if option.file:
                is_list = isinstance(value, tuple)
                changed[name] = tuple(change(one, option) for one in value) if is_list else change(value, option)
        return replace(self, **changed)

    @property
    def references(self) -> tuple[str, ...]:
        """Return the models beside the model itself that must be in the store."""
        return tuple(name for name in self._files() if not is_path(name))

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the files that a project brings along."""
        return tuple(name for name in self._files() if is_path(name))

    @property
    def companions(self) -> list[str]:
        """Return the kind of each file that is wanted beside the model: `mmproj`, `lora`, `draft`."""
        kinds = ["mmproj"] if self.mmproj else []
        return kinds + ["lora"] * len(self.loras or ()) + (["draft"] if self.draft else [])

    def _files(self) -> list[str]:
        said = [value for name in _OF_FILES if (value := getattr(self, name)) is not None]
        return [name for value in said for name in (value if isinstance(value, tuple) else (value,))]


def _options() -> dict[str, OptionField]:
    found = {}
    for one in fields(ServingOptions):
        option: OptionField = (one.metadata or described())["option"]
        found[one.name] = replace(option, written=option.written or one.name)
    return found


OPTIONS = _options()
"""All fields of `ServingOptions`, by name."""

_OF_FILES = tuple(name for name, option in OPTIONS.items() if option.file)
"""Asked for with every request, so not looked up each time."""


def written_names(section: Literal["", "x-dmrc"]) -> tuple[str, ...]:
    """Return what a compose file may say in a section, by its own names."""
    return tuple(option.written for option in OPTIONS.values() if option.read and option.section == section)


@dataclass(frozen=True, slots=True)
class Merged:
    """What all sources say together."""

    options: ServingOptions
    """The strongest value of each field."""
    origins: Mapping[str, Origin]
    """Who said it, for each field; fields that nobody set are from `default`."""


def merge(layers: Sequence[tuple[Origin, ServingOptions]]) -> Merged:
    """Return what holds, from the strongest source to the weakest."""
    options = ServingOptions()
    origins: dict[str, Origin] = {}
    for origin, layer in layers:
        for name in layer.said():
            origins.setdefault(name, origin)
        options = options.over(layer)
    return Merged(options, {name: origins.get(name, "default") for name in OPTIONS})
