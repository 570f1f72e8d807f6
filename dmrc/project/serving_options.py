"""How a model is to be served: each field once, with its place in a compose file, its check and its form in JSON.

A new field of `x-dmrc` under a model is one line of `ServingOptions`, and the engine that uses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from dmrc.errors import InputError, ProjectError
from dmrc.fields import Faults, JsonValue, positive, strings, text
from dmrc.paths import expanded
from dmrc.project.keep_alive import parse_keep_alive
from dmrc.project.upstream import Upstream
from dmrc.secret_names import secrets_in_urls

Mode = Literal["completion", "embedding", "rerank"]
"""What a model is loaded for; llama.cpp's server does one of these at a time."""

Origin = Literal["compose", "command line", "package", "default"]
"""Who says a value, the strongest first: a compose file is what a team has agreed on, and no wish of one machine
changes it."""

DEFAULT_ENGINE = "llama.cpp"
"""Engine of a model that names none."""

DEFAULT_CONTEXT_SIZE = 4096
"""Tokens per request where neither the project nor the package says; never the trained maximum, which may not fit."""

DEFAULT_KEEP_ALIVE_SECONDS = 300.0
"""How long an idle runner stays loaded. Source: Docker Model Runner and Ollama have the same."""


@dataclass(frozen=True, slots=True)
class FieldPlace:
    """Where a value stands in a compose file."""

    where: str
    """For messages: `models.llm.x-dmrc.lora`."""
    directory: Path
    """What a relative path in it begins at."""
    model: str
    """`model` of the same entry."""


FieldReader = Callable[[object, FieldPlace], Any]
"""Checks the value of a compose file, which is never None, and returns it as its field holds it."""


@dataclass(frozen=True, slots=True)
class OptionField:
    """What is known of one field, beside its type."""

    written: str
    """Its name in a compose file."""
    section: Literal["", "x-dmrc"]
    """Whether it stands under the model itself, or under its `x-dmrc`."""
    read: FieldReader | None
    """How a compose file's value is read; None: no compose file has it, only `dmrc configure`."""
    file: Literal["", "any", "text"]
    """Whether it names files, which must be the project's: any ones, or texts. What is not a path is a reference."""
    is_local: bool
    """Whether it has no effect on a model that another server serves."""
    names_runner: bool
    """Whether a runner with another value is another runner."""
    to_json: Callable[[Any], JsonValue]
    """Its form in JSON."""
    from_json: Callable[[Any], Any]
    """And back."""


def _same(value: Any) -> Any:
    return value


def _option(
    read: FieldReader | None = None,
    *,
    written: str = "",
    section: Literal["", "x-dmrc"] = "x-dmrc",
    file: Literal["", "any", "text"] = "",
    is_local: bool = False,
    names_runner: bool = True,
    to_json: Callable[[Any], JsonValue] = _same,
    from_json: Callable[[Any], Any] = _same,
) -> dict[str, OptionField]:
    return {"option": OptionField(written, section, read, file, is_local, names_runner, to_json, from_json)}


def _checked(check: Callable[[object, str], Any]) -> FieldReader:
    return lambda value, place: check(value, place.where)


def without_secrets(reference: str) -> str:
    """Return a reference; of a URL without a login and parameters, which are for the server that has it."""
    parts = urlsplit(reference) if "://" in reference else None
    if parts is None or not (secrets_in_urls(reference) or parts.username):
        return reference
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_path(name: str) -> bool:
    """Return whether a LoRA adapter or a draft is a file of the project, and not a reference."""
    return Path(name).is_absolute()


def _path(value: object, place: FieldPlace) -> str:
    try:
        return str((place.directory / expanded(text(value, place.where))).absolute())
    except InputError as error:
        raise ProjectError(f"{place.where}: {error.message}", remedy=error.remedy) from error


def _path_or_reference(value: object, place: FieldPlace) -> str:
    """As in Compose's volumes a path begins with `.`, `/` or `~`."""
    name = text(value, place.where).strip()
    return _path(name, place) if name.startswith((".", "/", "~")) else name


def _paths_or_references(value: object, place: FieldPlace) -> tuple[str, ...] | None:
    return tuple(_path_or_reference(one, place) for one in (value if isinstance(value, list) else [value])) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """What one source, or all of them together, say of how a model is served; None where nothing is said."""

    context_size: int | None = field(default=None, metadata=_option(_checked(positive), section="", is_local=True))
    """Tokens that each request may use."""
    runtime_flags: tuple[str, ...] | None = field(
        default=None,
        metadata=_option(
            lambda value, place: strings(value, place.where) or None, section="", is_local=True, from_json=tuple
        ),
    )
    """Flags for the engine, as written, all of them: a list is one value."""
    engine: str | None = field(default=None, metadata=_option(_checked(text)))
    """Name of the engine."""
    keep_alive_seconds: float | None = field(
        default=None,
        metadata=_option(
            _checked(parse_keep_alive),
            written="keep_alive",
            names_runner=False,
            to_json=lambda seconds: -1 if seconds == math.inf else seconds,  # JSON holds no infinity
            from_json=lambda seconds: math.inf if seconds == -1 else seconds,
        ),
    )
    """How long an idle runner stays loaded; 0 is not at all, inf is for ever, and pins it."""
    parallel: int | None = field(
        default=None, metadata=_option(lambda value, place: positive(value, place.where, example=2))
    )
    """Requests served at the same time; None lets dmrc choose by the memory there is."""
    upstream: Upstream | None = field(
        default=None,
        metadata=_option(
            lambda value, place: Upstream.parse(value, place.model, place.where),
            to_json=lambda upstream: upstream.to_json(),
            from_json=lambda document: Upstream.from_json(document),
        ),
    )
    """The server that serves it instead of an engine of ours."""
    loras: tuple[str, ...] | None = field(
        default=None, metadata=_option(_paths_or_references, written="lora", file="any", is_local=True, from_json=tuple)
    )
    """LoRA adapters: absolute paths of GGUF files, or references."""
    draft: str | None = field(default=None, metadata=_option(_path_or_reference, file="any", is_local=True))
    """Smaller model with the same vocabulary that guesses ahead: an absolute path or a reference."""
    mmproj: str | None = field(default=None, metadata=_option(_path, file="any", is_local=True))
    """Absolute path of a multimodal projector, before the one of the package."""
    chat_template: str | None = field(default=None, metadata=_option(_path, file="text", is_local=True))
    """Absolute path of a Jinja template, before the one of the package."""
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
        option: OptionField = (one.metadata or _option())["option"]
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
