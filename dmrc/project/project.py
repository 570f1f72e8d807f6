"""A compose project as dmrc sees it: its models, the services that use them, and what each service is given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from dmrc.errors import NotFoundError
from dmrc.fields import Faults, mapping, refuse_unknown, strings, text
from dmrc.project import choices
from dmrc.project.choices import Auth, OpenAIVariables
from dmrc.project.fault_plan import FaultPlan
from dmrc.project.host import parse_host
from dmrc.project.model import RAY_ENGINE, ModelDeclaration
from dmrc.project.provider import provided, with_providers
from dmrc.project.replay import Replay
from dmrc.project.service import Service
from dmrc.project.services import GATEWAY_HOST, read_service
from dmrc.settings import CaptureLevel
from dmrc.suggestions import did_you_mean

_PLAIN_URL = re.compile(rf"http://{re.escape(GATEWAY_HOST)}(:80)?(/|$)")

KEY_PREFIX = "sk-dmrc-"
"""How a key of ours begins. Any other bearer is an application's placeholder."""


@dataclass(frozen=True, slots=True)
class Project:
    """A compose project."""

    name: str
    """Name as Compose computes it."""
    directory: Path
    """Where its first compose file lies, or what `--project-directory` says."""
    files: tuple[Path, ...]
    """Its compose files, in order."""
    models: Mapping[str, ModelDeclaration]
    """By key."""
    services: Mapping[str, Service]
    """All services, those without models too."""
    capture: CaptureLevel | None = None
    """What is recorded of its requests; None leaves it to the settings."""
    plugins: tuple[Path, ...] = ()
    """Files of its own plugins (`x-dmrc: plugins`), absolute."""
    auth: Auth = "key"
    """How the gateway knows its containers: by the keys they send, or, where they send none, by their addresses too."""
    any_model: bool = False
    """Whether its services may use every model of the store (`x-dmrc: {auth: address, models: any}`)."""
    replay: Replay | None = None
    """Recorded answers, where the project says anything of them."""
    faults: FaultPlan | None = None
    """Which requests of its services fail on purpose, where a service says nothing of that itself."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Values that must not be recorded. They go to the daemon's memory, and never into a file below `DMRC_HOME`."""

    @property
    def consumers(self) -> tuple[Service, ...]:
        """Return the services that use a model."""
        return tuple(service for service in self.services.values() if service.bindings)

    @property
    def callers(self) -> tuple[Service, ...]:
        """Return the services that may ask the gateway: those with models, or, by their addresses, all in a network."""
        everybody = self.auth == "address"
        return tuple(
            service
            for service in self.services.values()
            if service.bindings or (everybody and service.network_mode != "none" and not service.provides)
        )

    @property
    def uses_plain_port(self) -> bool:
        """Return whether containers call the gateway without a port, as Docker Model Runner's own address has none.

        They do where they are known by their addresses, and where a variable of theirs says so.
        """
        values = (value for service in self.callers for value in service.environment.values() if value)
        return self.auth == "address" or any(map(_PLAIN_URL.search, values))

    def only(self, names: Iterable[str]) -> tuple[Service, ...]:
        """Return those of these services that the project has."""
        return tuple(self.services[name] for name in dict.fromkeys(names) if name in self.services)

    def with_dependencies(self, names: Iterable[str]) -> tuple[Service, ...]:
        """Return these services and all that they depend on, each once."""
        found: dict[str, None] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in self.services and name not in found:
                found[name] = None
                waiting += self.services[name].depends_on
        return self.only(found)

    def models_of(self, services: Iterable[Service]) -> tuple[ModelDeclaration, ...]:
        """Return the models that these services may use, in the order of the file; one that lists none may use all."""
        used: set[str] = set()
        for service in services:
            used.update(service.provides)
            if service in self.callers:
                used.update(service.model_keys or self.models)
        return tuple(model for key, model in self.models.items() if key in used)

    def service(self, name: str) -> Service:
        """Return the service `name`, which must use a model.

        Raises:
            NotFoundError: There is no such service, or it declares no model.
        """
        if name not in self.services:
            raise NotFoundError(
                f"project '{self.name}' has no service '{name}'{did_you_mean(name, self.services)}",
                remedy=f"Services with models: {', '.join(s.name for s in self.consumers) or 'none'}",
            )
        if self.services[name].provides:
            raise NotFoundError(f"service '{name}' is a model, and no program", remedy="Name one that depends on it")
        if not self.services[name].bindings:
            raise NotFoundError(f"service '{name}' uses no model", remedy=f"Add services.{name}.models: [KEY]")
        return self.services[name]

    def on_host(self, host: str) -> Project:
        """Return the project with its models on a host, but those that name their own place.

        Raises:
            ProjectError: One of them declares what that host cannot have.
        """
        return replace(self, models=_on_host(self.models, host))

    def recorded(self) -> Project:
        """Return the project with every model as a replay has it, where cassettes alone answer; else as it is."""
        if self.replay is None or self.replay.needs_models:
            return self
        return replace(self, models={key: model.recorded() for key, model in self.models.items()})

    def on_cluster(self, address: str) -> Project:
        """Return the project with its models of engine `ray` on the cluster at an address, but those that name one."""
        changed = {
            key: replace(model, options=replace(model.options, ray_address=address))
            for key, model in self.models.items()
            if model.engine == RAY_ENGINE and model.options.ray_address is None
        }
        return replace(self, models={**self.models, **changed})

    @classmethod
    def parse(
        cls,
        document: Mapping[str, object],
        files: tuple[Path, ...],
        directory: Path | None = None,
        places: Mapping[str, Path] = MappingProxyType({}),
    ) -> Project:
        """Read the document that `docker compose config` prints.

        Relative paths begin in `directory`, by default the first file's, and those of a model of an included file where
        `places` says.

        Raises:
            ProjectError: It declares something impossible; the place is named.
        """
        name = text(document.get("name"), "name")
        directory = directory or (files[0].parent if files else Path())
        models, faults = {}, Faults()
        declared = mapping(document.get("models"), "models")
        for key, value in declared.items():
            with faults.noted():
                models[key] = ModelDeclaration.parse(key, value, places.get(key, directory))
        options = mapping(document.get("x-dmrc"), "x-dmrc")
        openai: OpenAIVariables = "auto"
        with faults.noted():
            refuse_unknown(options, choices.PROJECT_OPTIONS, "x-dmrc")
        with faults.noted():
            openai = choices.openai(options.get("openai"), "x-dmrc.openai", openai)
        with faults.noted():
            capture = choices.capture(options.get("capture"))
        with faults.noted():
            auth = choices.auth(options.get("auth"))
            any_model = choices.any_model(options.get("models"), auth)
        written = mapping(document.get("services"), "services")
        services = _services(written, declared, openai, faults)
        with faults.noted():
            plugins = strings(options.get("plugins"), "x-dmrc.plugins", example='["./plugins/x.py"]')
        with faults.noted():
            replay = Replay.parse(options.get("replay"), directory)
        with faults.noted():
            planned = FaultPlan.parse(options.get("faults"), "x-dmrc.faults")
        faults.tell()
        providers = provided(written, directory)
        models |= {model.key: model for provider in providers.values() for model in provider.models}
        if options.get("host") is not None:
            models = _on_host(models, parse_host(options["host"], "x-dmrc.host"))
        services = with_providers(services, providers)
        paths = tuple(directory / path for path in plugins)
        return cls(name, directory, files, models, services, capture, paths, auth, any_model, replay, planned)


def _services(
    written: Mapping[str, object], models: Mapping[str, object], openai: OpenAIVariables, faults: Faults
) -> dict[str, Service]:
    """Read services, and note what is wrong with them in `faults`."""
    services = {}
    for key, value in written.items():
        with faults.noted():
            services[key] = read_service(key, value, models, openai)
    return services


def _on_host(models: Mapping[str, ModelDeclaration], host: str) -> dict[str, ModelDeclaration]:
    return {key: model.served_by(host) for key, model in models.items()}
