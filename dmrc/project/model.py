"""One entry under `models:`: which model, and how it is served."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from dmrc.errors import ProjectError
from dmrc.fields import Faults, JsonValue, mapping, one_of, refuse_unknown
from dmrc.project.option_fields import FieldPlace, is_path, without_secrets
from dmrc.project.serving_options import DEFAULT_ENGINE, OPTIONS, ServingOptions, written_names

UPSTREAM_ENGINE = "upstream"
"""Engine of a model that another server serves."""

SSH_ENGINE = "ssh"
"""Engine of a model that the dmrc of another machine serves."""

RECORDED_ENGINE = "recorded"
"""Engine of the models of a project that is replayed: cassettes answer."""

CONTAINER_ENGINE = "container"
"""Engine of a model that is served out of an image."""

RAY_ENGINE = "ray"
"""Engine of a model that is served on a cluster of Ray, which a plugin brings."""

MODEL_FIELDS = ("model", "name", *written_names(""))
"""What an entry may hold beside `x-dmrc`. Source: the Compose specification."""

MODEL_OPTIONS = (*written_names("x-dmrc"), "ready")
"""What its `x-dmrc` may hold."""

_NOTHING = ServingOptions()
_RECORDED = ServingOptions(engine=RECORDED_ENGINE)

Ready = Literal["loaded", "pulled"]
_READY: tuple[Ready, ...] = get_args(Ready)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDeclaration:
    """One entry under `models:`."""

    key: str
    """Its key in the compose file."""
    model: str
    """The model reference, as written; of an upstream, the name that services use."""
    options: ServingOptions = _NOTHING
    """How it is served."""
    ready: Ready = "loaded"
    """What `dmrc up` waits for before it starts the containers."""

    @classmethod
    def parse(cls, key: str, value: object, directory: Path) -> ModelDeclaration:
        """Read one entry of the YAML of `docker compose config`; relative paths are of the project's `directory`.

        Raises:
            ProjectError: It declares something impossible; the key is named.
        """
        where = f"models.{key}"
        fields = mapping(value, where)
        refuse_unknown(fields, MODEL_FIELDS, where)
        model = fields.get("model")
        if not isinstance(model, str) or not model.strip():
            raise ProjectError(f"{where} has no 'model'", remedy=f"Write {where}.model: ai/smollm2, for example")
        own = mapping(fields.get("x-dmrc"), f"{where}.x-dmrc")
        faults = Faults()
        with faults.noted():
            refuse_unknown(own, MODEL_OPTIONS, f"{where}.x-dmrc")
        options = ServingOptions.parse({"": fields, "x-dmrc": own}, FieldPlace(where, directory, model.strip()), faults)
        with faults.noted():
            if options.engine == RECORDED_ENGINE:
                raise ProjectError(f"{where}.x-dmrc.engine is 'recorded'", remedy="Write x-dmrc: {replay: ./cassettes}")
            _check_upstream(options, where)
            _check_host(options, where)
        with faults.noted():
            ready = one_of(own.get("ready", "loaded"), f"{where}.x-dmrc.ready", _READY)
        faults.tell()
        return cls(key=key, model=model.strip(), options=options, ready=ready)

    @property
    def engine(self) -> str:
        """Return the name of the engine that serves it."""
        return SSH_ENGINE if self.options.host else self.loader

    @property
    def loader(self) -> str:
        """Return the name of the engine that loads it, on this machine or on its host."""
        return self.options.engine or (UPSTREAM_ENGINE if self.options.upstream else DEFAULT_ENGINE)

    @property
    def has_files(self) -> bool:
        """Return whether the model is one of a store, here or on its host."""
        return self.options.upstream is None and self.options.engine != RECORDED_ENGINE

    def recorded(self) -> ModelDeclaration:
        """Return it as a replay has it: under the same names, and with nothing to pull, start, load or reach."""
        return replace(self, options=_RECORDED)

    def served_by(self, host: str) -> ModelDeclaration:
        """Return it with the host that a whole project, or this shell, has; what names its own place keeps that.

        Raises:
            ProjectError: It declares what that host cannot have.
        """
        if self.options.host or not self.has_files:
            return self
        options = replace(self.options, host=host)
        _check_host(options, f"models.{self.key}")
        return replace(self, options=options)

    @property
    def name(self) -> str:
        """Return what it is called: of a URL without a login and parameters, which are for the server that has it."""
        return without_secrets(self.model)

    def without_secrets(self) -> ModelDeclaration:
        """Return it as others than the command that pulls may know it."""
        return replace(self, model=self.name, options=self.options.without_secrets())

    @property
    def references(self) -> tuple[str, ...]:
        """Return the models that must be in the store before it can be served: of its host, where it has one."""
        return (self.model, *self.options.references) if self.has_files else ()

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as JSON can hold it."""
        return {"key": self.key, "model": self.model, "ready": self.ready, **self.options.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ModelDeclaration:
        """Read what `to_json` returned, here or in another version: fields that are not known are left out."""
        options = ServingOptions.from_json(document)
        return cls(key=document["key"], model=document["model"], options=options, ready=document.get("ready", "loaded"))


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


def _check_upstream(options: ServingOptions, where: str) -> None:
    """Refuse what contradicts an upstream, and what only an engine of ours could do: without effect, it would be a lie.

    Raises:
        ProjectError: It is said.
    """
    if options.upstream is None:
        if options.engine == UPSTREAM_ENGINE:
            raise ProjectError(
                f"{where}.x-dmrc.engine is 'upstream', and no upstream is named",
                remedy="Write upstream: https://HOST/v1",
            )
        return
    if options.engine not in (None, UPSTREAM_ENGINE):
        raise ProjectError(
            f"{where}.x-dmrc has both 'upstream' and engine '{options.engine}'", remedy="Remove one of them"
        )
    for name in options.said():
        option = OPTIONS[name]
        if option.is_local:
            raise ProjectError(
                f"{'.'.join(filter(None, (where, option.section, option.written)))} has no effect on an upstream,"
                " which decides that itself",
                remedy=f"Remove it; in an override file write {option.written}: !reset null",
            )


def _check_host(options: ServingOptions, where: str) -> None:
    """Refuse what contradicts a host, and files of this machine, which it has not.

    Raises:
        ProjectError: It is said.
    """
    if options.host is None:
        if options.engine == SSH_ENGINE:
            raise ProjectError(f"{where}.x-dmrc.engine is 'ssh', and no host is named", remedy="Write host: ssh://HOST")
        return
    if options.upstream is not None:
        raise ProjectError(f"{where}.x-dmrc has both 'host' and 'upstream'", remedy="Remove one of them")
    if options.engine == SSH_ENGINE:
        raise ProjectError(
            f"{where}.x-dmrc.engine is 'ssh', and must be one of {options.host}", remedy="Remove it, or name that"
        )
    for name, value in options.said().items():
        option = OPTIONS[name]
        files = [one for one in (value if isinstance(value, tuple) else (value,)) if option.file and is_path(one)]
        if files:
            raise ProjectError(
                f"{where}.x-dmrc.{option.written} is the file '{files[0]}' of this machine, which {options.host}"
                " has not",
                remedy="Put it into the model: dmrc package --from …, and push that"
                if option.written in ("mmproj", "chat_template")
                else "Name a model of a registry, or remove it",
            )
