"""One entry under `models:`: which model, served how, with which files beside it, or by which other server."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from dmrc.errors import InputError, ProjectError
from dmrc.fields import Faults, mapping, positive, refuse_unknown, strings, text
from dmrc.paths import expanded
from dmrc.project.upstream import Upstream
from dmrc.secret_names import secrets_in_urls

DEFAULT_ENGINE = "llama.cpp"
"""Engine of a model that names none."""

UPSTREAM_ENGINE = "upstream"
"""Engine of a model that another server serves."""

_FIELDS = ("model", "name", "context_size", "runtime_flags")
_OPTIONS = ("engine", "keep_alive", "parallel", "ready", "upstream", "lora", "draft", "mmproj", "chat_template")
_LOCAL_ONLY = ("lora", "draft", "mmproj", "chat_template")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|$)", re.ASCII)
_DURATION = re.compile(r"-?(?:(?:\d+(?:\.\d+)?(?:ms|s|m|h))+|\d+(?:\.\d+)?)", re.ASCII)
_DURATION_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_FOR_EVER_SECONDS = 10 * 365 * 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDeclaration:
    """One entry under `models:`."""

    key: str
    """Its key in the compose file."""
    model: str
    """The model reference, as written; of an upstream, the name that services use."""
    context_size: int | None = None
    """Tokens that each request may use; None leaves it to the package, then to dmrc's default."""
    runtime_flags: tuple[str, ...] = ()
    """Flags for the engine, as written."""
    engine: str = DEFAULT_ENGINE
    """Which engine serves it (`x-dmrc: engine`)."""
    keep_alive_seconds: float | None = None
    """How long an idle runner stays loaded; None is the default, 0 is not at all, inf is for ever."""
    parallel: int | None = None
    """Requests served at the same time; None lets dmrc choose by the memory there is."""
    ready: Literal["loaded", "pulled"] = "loaded"
    """What `dmrc up` waits for before it starts the containers."""
    upstream: Upstream | None = None
    """The server that serves it instead of an engine of ours; None is one of ours."""
    loras: tuple[str, ...] = ()
    """LoRA adapters: absolute paths of GGUF files, or references."""
    draft: str | None = None
    """Smaller model with the same vocabulary that guesses ahead: an absolute path or a reference."""
    mmproj: str | None = None
    """Absolute path of a multimodal projector, before the one of the package."""
    chat_template: str | None = None
    """Absolute path of a Jinja template, before the one of the package."""

    @classmethod
    def parse(cls, key: str, value: object, directory: Path) -> ModelDeclaration:
        """Read one entry of the YAML of `docker compose config`; relative paths are of the project's `directory`.

        Raises:
            ProjectError: It declares something impossible; the key is named.
        """
        where = f"models.{key}"
        fields = mapping(value, where)
        refuse_unknown(fields, _FIELDS, where)
        model = fields.get("model")
        if not isinstance(model, str) or not model.strip():
            raise ProjectError(f"{where} has no 'model'", remedy=f"Write {where}.model: ai/smollm2, for example")
        options = mapping(fields.get("x-dmrc"), f"{where}.x-dmrc")
        files = _Files(options, f"{where}.x-dmrc", directory)
        faults = Faults()
        with faults.noted():
            refuse_unknown(options, _OPTIONS, f"{where}.x-dmrc")
        with faults.noted():
            upstream, engine = _server(fields, options, where)
        with faults.noted():
            context_size = positive(fields.get("context_size"), f"{where}.context_size")
        with faults.noted():
            keep_alive = parse_keep_alive(options.get("keep_alive"), f"{where}.x-dmrc.keep_alive")
        with faults.noted():
            parallel = positive(options.get("parallel"), f"{where}.x-dmrc.parallel", example=2)
        with faults.noted():
            ready = _ready(options.get("ready", "loaded"), f"{where}.x-dmrc.ready")
        faults.tell()
        return cls(
            key=key,
            model=model.strip(),
            context_size=context_size,
            runtime_flags=strings(fields.get("runtime_flags"), f"{where}.runtime_flags"),
            engine=engine,
            keep_alive_seconds=keep_alive,
            parallel=parallel,
            ready=ready,
            upstream=upstream,
            loras=files.paths_or_references("lora"),
            draft=next(iter(files.paths_or_references("draft")), None),
            mmproj=files.path("mmproj"),
            chat_template=files.path("chat_template"),
        )

    @property
    def name(self) -> str:
        """Return what it is called: of a URL without a login and parameters, which are for the server that has it."""
        return _without_secrets(self.model)

    def without_secrets(self) -> ModelDeclaration:
        """Return it as others than the command that pulls may know it."""
        draft = None if self.draft is None else _without_secrets(self.draft)
        return replace(self, model=self.name, loras=tuple(map(_without_secrets, self.loras)), draft=draft)

    @property
    def references(self) -> tuple[str, ...]:
        """Return the models that must be in the store before it can be served."""
        if self.upstream is not None:
            return ()
        beside = (*self.loras, *([self.draft] if self.draft else []))
        return (self.model, *(name for name in beside if not is_path(name)))

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the files that the project brings along."""
        named = (*self.loras, self.draft, self.mmproj, self.chat_template)
        return tuple(name for name in named if name is not None and is_path(name))

    @property
    def companions(self) -> list[str]:
        """Return the kind of each file that it wants beside the model: `mmproj`, `lora`, `draft`."""
        kinds = ["mmproj"] if self.mmproj else []
        return kinds + ["lora"] * len(self.loras) + (["draft"] if self.draft else [])


def find_model(models: Iterable[ModelDeclaration], name: str) -> ModelDeclaration | None:
    """Return which of a service's models `name` means as it is written: a key, else the first with that reference."""
    declared = list(models)
    by_key = next((model for model in declared if model.key == name), None)
    return by_key or next((model for model in declared if name in (model.model, model.name)), None)


def own_names(models: Iterable[ModelDeclaration]) -> dict[str, ModelDeclaration]:
    """Return the name by which a service asks for each of its models: its reference.

    Where two entries have one reference, it is the first one's, and the others are asked for by their keys.
    """
    declared = list(models)
    return {model.name if find_model(declared, model.name) is model else model.key: model for model in declared}


def _without_secrets(reference: str) -> str:
    parts = urlsplit(reference) if "://" in reference else None
    if parts is None or not (secrets_in_urls(reference) or parts.username):
        return reference
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_path(name: str) -> bool:
    """Return whether a LoRA adapter or a draft is a file of the project, and not a reference."""
    return Path(name).is_absolute()


def parse_keep_alive(value: object, where: str) -> float | None:
    """Return the seconds that `5m`, `1h30m`, `90` or `0` mean; below zero is for ever (inf), None stays None.

    Source: https://github.com/ollama/ollama/blob/main/docs/faq.md, which has the same forms.

    Raises:
        ProjectError: It is none of these.
    """
    if value is None:
        return None
    written = str(value).strip()
    if isinstance(value, bool) or not _DURATION.fullmatch(written):
        raise ProjectError(f"{where} is '{written[:40]}', which is no duration", remedy="Use 5m, 1h, 0 or -1")
    seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(written))
    return math.inf if seconds > _FOR_EVER_SECONDS or (written[0] == "-" and seconds > 0) else seconds


@dataclass(frozen=True, slots=True)
class _Files:
    """The options that name files."""

    options: Mapping[str, object]
    where: str
    directory: Path

    def path(self, option: str) -> str | None:
        """Return the absolute path that an option names; None where it is not set."""
        if self.options.get(option) is None:
            return None
        return self._absolute(text(self.options[option], f"{self.where}.{option}"))

    def paths_or_references(self, option: str) -> tuple[str, ...]:
        """Return what an option names, one or a list; as in Compose's volumes a path begins with `.`, `/` or `~`."""
        value = self.options.get(option)
        names = value if isinstance(value, list) and option == "lora" else [] if value is None else [value]
        written = [text(name, f"{self.where}.{option}").strip() for name in names]
        return tuple(self._absolute(name) if name.startswith((".", "/", "~")) else name for name in written)

    def _absolute(self, name: str) -> str:
        try:
            return str((self.directory / expanded(name)).absolute())
        except InputError as error:
            raise ProjectError(f"{self.where}: {error.message}", remedy=error.remedy) from error


def _server(fields: Mapping[str, object], options: Mapping[str, object], where: str) -> tuple[Upstream | None, str]:
    """Return the upstream that serves a model, and its engine."""
    upstream = Upstream.parse(options.get("upstream"), str(fields["model"]).strip(), f"{where}.x-dmrc.upstream")
    if upstream is not None:
        _refuse_beside_upstream(fields, options, where)
    return upstream, _engine(options, upstream, f"{where}.x-dmrc")


def _engine(options: Mapping[str, object], upstream: Upstream | None, where: str) -> str:
    engine = text(options.get("engine", UPSTREAM_ENGINE if upstream else DEFAULT_ENGINE), f"{where}.engine")
    if upstream is not None and engine != UPSTREAM_ENGINE:
        raise ProjectError(f"{where} has both 'upstream' and engine '{engine}'", remedy="Remove one of them")
    if upstream is None and engine == UPSTREAM_ENGINE:
        raise ProjectError(
            f"{where}.engine is 'upstream', and no upstream is named", remedy="Write upstream: https://HOST/v1"
        )
    return engine


def _refuse_beside_upstream(fields: Mapping[str, object], options: Mapping[str, object], where: str) -> None:
    """Refuse what only an engine of ours could do: without effect, it would be a lie."""
    given = [name for name in ("context_size", "runtime_flags") if fields.get(name)]
    given += [f"x-dmrc.{name}" for name in _LOCAL_ONLY if options.get(name)]
    if given:
        raise ProjectError(
            f"{where}.{given[0]} has no effect on an upstream, which decides that itself",
            remedy=f"Remove it; in an override file write {given[0].rpartition('.')[2]}: !reset null",
        )


def _ready(value: object, where: str) -> Literal["loaded", "pulled"]:
    if value == "loaded":
        return "loaded"
    if value == "pulled":
        return "pulled"
    raise ProjectError(f"{where} is {value!r}", remedy="Use loaded or pulled")
