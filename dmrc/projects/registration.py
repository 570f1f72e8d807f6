"""What the daemon knows of a project that is up."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dmrc.errors import ProjectError
from dmrc.exchange import JsonValue
from dmrc.project import (
    DEFAULT_ENGINE,
    OPTIONS,
    Auth,
    Binding,
    FaultPlan,
    LocalPlugin,
    ModelDeclaration,
    Project,
    Replay,
    Service,
)
from dmrc.settings import CaptureLevel
from dmrc.state import BAD_ROW, known, known_fields

WHOLE_PROJECT = "*"
"""Stands for a service in a registration: its key is the project's capability path, and opens the models of that path.

Compose itself can inject a URL and no key, so the key is a part of the URL. No service can have this name.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What the daemon knows of a project that is up."""

    name: str
    """Compose project name."""
    directory: str
    """Where its first compose file lies."""
    docker_host: str | None = None
    """Docker engine that runs its containers; None where there are none."""
    capture: CaptureLevel | None = None
    """What is recorded of its requests; None leaves it to the settings."""
    models: Mapping[str, ModelDeclaration] = field(default_factory=dict)
    """By key."""
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Model keys of each service that uses models; the first is its default."""
    key_hashes: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 in hex of each service's key."""
    without_models: tuple[str, ...] = ()
    """Services that use no model."""
    plugins: tuple[LocalPlugin, ...] = ()
    """The project's own plugins."""
    auth: Auth = "key"
    """Whether a container without a key may be known by its address."""
    plain_port: bool = False
    """Whether its containers call the gateway without a port."""
    any_model: bool = False
    """Whether its services may use every model of the store, and not only those that it declares."""
    extensions: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict)
    """Fields `x-dmrc-…` of services that have any, for plugins."""

    replay: Replay | None = None
    """Recorded answers: where they are, and what they are used for now."""
    faults: Mapping[str, FaultPlan] = field(default_factory=dict)
    """Which requests fail on purpose, as the compose file says: by service, `WHOLE_PROJECT` for all others."""
    faults_set: Mapping[str, FaultPlan] = field(default_factory=dict)
    """The same as `dmrc faults` says: it comes before the file, and ends with the project."""

    is_given: bool = False
    """Whether a file of `dmrc serve --project` brought it: it ends with the daemon, and no command registers it."""
    has_containers: bool = False
    """Whether Docker had containers of it since it was registered last; when these have gone, it ends."""
    is_used_here: bool = False
    """Whether a program on this machine was given its variables (`dmrc exec`, `dmrc env`), and may need its keys."""
    starter: tuple[int, float] | None = None
    """The process that makes its containers (Compose), and when that began: `process_of`. None where there is none."""
    used_at: float = field(default_factory=time.time, compare=False)
    """When it was registered or asked something last, in Unix seconds; kept, to the hour, where `is_used_here`."""

    @classmethod
    def of(cls, project: Project, keys: Mapping[str, str], docker_host: str | None) -> Registration:
        """Return the registration of a project, with its services' plain keys hashed."""
        services = {service.name: service.model_keys for service in project.consumers}
        return cls(
            name=project.name,
            directory=str(project.directory),
            docker_host=docker_host,
            capture=project.capture,
            models={key: model.without_secrets() for key, model in project.models.items()},
            services=services,
            key_hashes={service: key_hash(keys[service]) for service in services},
            without_models=tuple(
                name for name, each in project.services.items() if name not in services and not each.provides
            ),
            plugins=tuple(LocalPlugin.of(path) for path in project.plugins),
            auth=project.auth,
            plain_port=project.uses_plain_port,
            any_model=project.any_model,
            replay=project.replay,
            faults=_faults(project),
            extensions={name: each.extensions for name, each in project.services.items() if each.extensions},
        )

    def to_project(self) -> Project:
        """Return the project as plugins of the daemon see it: without files, and without its services' variables."""
        services = {
            name: Service(name, tuple(Binding(key) for key in keys), extensions=self.extensions.get(name, {}))
            for name, keys in {**self.services, **dict.fromkeys(self.without_models, ())}.items()
            if name != WHOLE_PROJECT
        }
        plugins = tuple(Path(plugin.path) for plugin in self.plugins)
        return Project(self.name, Path(self.directory), (), self.models, services, self.capture, plugins)

    def keeping(self, before: Registration) -> Registration:
        """Return this registration with those services of `before` that this one does not know at all.

        They are of a profile that is not active now, or orphans: Compose lets their containers run until `down`.
        """
        known = {*self.services, *self.without_models}
        kept = {name: keys for name, keys in before.services.items() if name not in known}
        models = {key: before.models[key] for keys in kept.values() for key in keys}
        hashes = {name: before.key_hashes[name] for name in kept if name in before.key_hashes}
        return replace(
            self,
            models={**models, **self.models},
            services={**kept, **self.services},
            key_hashes={**hashes, **self.key_hashes},
            extensions={**{name: before.extensions.get(name, {}) for name in kept}, **self.extensions},
            is_used_here=self.is_used_here or before.is_used_here,
            starter=self.starter or (before.starter if self.replay == before.replay else None),
            faults={**{name: before.faults[name] for name in kept if name in before.faults}, **self.faults},
            faults_set=before.faults_set,
        )

    def fault_plan(self, service: str | None) -> FaultPlan | None:
        """Return which requests of a service fail on purpose; None: none, as of one that is known by no key."""
        for plans in (self.faults_set, self.faults):
            if (plan := plans.get(service or WHOLE_PROJECT, plans.get(WHOLE_PROJECT))) is not None:
                return plan if plan.faults else None
        return None

    @property
    def is_replayed(self) -> bool:
        """Return whether cassettes alone answer its requests."""
        return self.replay is not None and not self.replay.needs_models

    @property
    def binds(self) -> bool:
        """Return whether `dmrc up` has it recorded or replayed, with containers: programs beside these are so, too."""
        return self.replay is not None and self.replay.mode is not None and self.has_containers and bool(self.starter)

    def recorded(self) -> Registration:
        """Return it with every model as a replay has it, where cassettes alone answer; else as it is."""
        if not self.is_replayed:
            return self
        return replace(self, models={key: model.recorded() for key, model in self.models.items()})

    def joined_to(self, before: Registration) -> Registration:
        """Return `before` with the services of this registration beside its own.

        A provider service, or one call of the `docker-model` plugin, knows only its own models and not the project.
        """
        services = {**before.services, **self.services}
        if WHOLE_PROJECT in self.services:
            # Compose tells the plugin of one model after the other.
            keys = (*before.services.get(WHOLE_PROJECT, ()), *self.services[WHOLE_PROJECT])
            services[WHOLE_PROJECT] = tuple(dict.fromkeys(keys))
        return replace(
            before,
            docker_host=self.docker_host or before.docker_host,
            models={**before.models, **self.models},
            services=services,
            key_hashes={**before.key_hashes, **self.key_hashes},
            without_models=tuple(
                name for name in dict.fromkeys((*before.without_models, *self.without_models)) if name not in services
            ),
            auth=self.auth if self.auth == "address" else before.auth,
            plain_port=self.plain_port or before.plain_port,
            any_model=self.any_model or before.any_model,
            starter=self.starter,
            has_containers=False,
        )

    def without(self, service: str) -> Registration | None:
        """Return this registration without a service and its key, or None when that was the last one."""
        services = {name: keys for name, keys in self.services.items() if name != service}
        used = {key for keys in services.values() for key in keys}
        return (
            replace(
                self,
                models={key: model for key, model in self.models.items() if key in used},
                services=services,
                key_hashes={name: sha256 for name, sha256 in self.key_hashes.items() if name in services},
            )
            if services
            else None
        )

    def to_json(self) -> str:
        models = {key: model.to_json() for key, model in self.models.items()}
        replay = self.replay.to_json() if self.replay else None
        return json.dumps({**asdict(replace(self, models={}, replay=None)), "models": models, "replay": replay})

    @classmethod
    def from_json(cls, text: str | bytes) -> Registration:
        """Read what `to_json` wrote, here or in another version: fields that are not known are ignored.

        Raises:
            ProjectError: It is no registration.
        """
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ProjectError(f"a registration cannot be read: {type(error).__name__}: {error}") from error
        return cls.from_document(document)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Registration:
        """Read the same when it is JSON no more; raises as `from_json` does. The document is used up."""
        try:
            return cls._read(document)
        except BAD_ROW as error:
            raise ProjectError(f"a registration cannot be read: {type(error).__name__}: {error}") from error

    @classmethod
    def _read(cls, document: dict[str, Any]) -> Registration:
        where = f"project '{document.get('name')}'"
        models = {
            key: _model(fields, f"model '{key}' of {where}") for key, fields in document.pop("models", {}).items()
        }
        services = {name: tuple(keys) for name, keys in document.pop("services", {}).items()}
        if unknown := {key for keys in services.values() for key in keys} - models.keys():
            raise ValueError(f"a service uses the model '{min(unknown)}', which is not declared")
        without_models = tuple(document.pop("without_models", ()))
        plugins = tuple(
            LocalPlugin(**known_fields(LocalPlugin, fields, f"a plugin of {where}"))
            for fields in document.pop("plugins", ())
        )
        if (starter := document.pop("starter", None)) is not None:
            document["starter"] = (int(starter[0]), float(starter[1]))
        for name in {"faults", "faults_set"} & document.keys():
            document[name] = {service: FaultPlan.from_json(plan) for service, plan in document[name].items()}
        if (replayed := document.pop("replay", None)) is not None:
            document["replay"] = Replay.from_json(replayed)
        rest = known_fields(cls, document, where)
        return cls(models=models, services=services, without_models=without_models, plugins=plugins, **rest)


def _faults(project: Project) -> dict[str, FaultPlan]:
    """Return the fault plans that a compose file has."""
    plans = {name: each.faults for name, each in project.services.items() if each.faults is not None}
    return plans if project.faults is None else {**plans, WHOLE_PROJECT: project.faults}


def _model(document: dict[str, Any], where: str) -> ModelDeclaration:
    """Read a model as `to_json` wrote it, or an earlier version did, with empty values for what was not said."""
    fields = known(document, {"key", "model", "ready", *OPTIONS}, where)
    said = {name: value for name, value in fields.items() if value not in ([], "")}
    if said.get("engine") == DEFAULT_ENGINE:
        del said["engine"]
    return ModelDeclaration.from_json(said)


def key_hash(key: str) -> str:
    """Return the SHA-256 of a key in hex; keys have 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(key.encode()).hexdigest()
