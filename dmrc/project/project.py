"""A compose project as dmrc sees it: its models, the services that use them, and what each service is given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from dmrc.errors import NotFoundError, ProjectError
from dmrc.fields import Faults, JsonValue, mapping, plain, refuse_unknown, strings, text
from dmrc.project import choices
from dmrc.project.binding import Binding
from dmrc.project.choices import Auth, OpenAIVariables
from dmrc.project.host import parse_host
from dmrc.project.model import RAY_ENGINE, ModelDeclaration
from dmrc.project.provider import provided, with_providers
from dmrc.project.service import Service
from dmrc.settings import CaptureLevel
from dmrc.suggestions import did_you_mean

GATEWAY_HOST = "model-runner.docker.internal"
"""Name of the gateway inside containers. Source: Docker Model Runner's own name for it."""

_PLAIN_URL = re.compile(rf"http://{re.escape(GATEWAY_HOST)}(:80)?(/|$)")

KEY_PREFIX = "sk-dmrc-"
"""How a key of ours begins. Any other bearer is an application's placeholder."""

_EXTENSION_PREFIX = "x-dmrc-"


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
        models, services, faults = {}, {}, Faults()
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
        for key, value in written.items():
            with faults.noted():
                services[key] = _service(key, value, declared, openai)
        with faults.noted():
            plugins = strings(options.get("plugins"), "x-dmrc.plugins", example='["./plugins/x.py"]')
        faults.tell()
        providers = provided(written, directory)
        models |= {model.key: model for provider in providers.values() for model in provider.models}
        if options.get("host") is not None:
            models = _on_host(models, parse_host(options["host"], "x-dmrc.host"))
        services = with_providers(services, providers)
        paths = tuple(directory / path for path in plugins)
        return cls(name, directory, files, models, services, capture, paths, auth, any_model)


def _on_host(models: Mapping[str, ModelDeclaration], host: str) -> dict[str, ModelDeclaration]:
    return {key: model.served_by(host) for key, model in models.items()}


def _service(name: str, value: object, models: Mapping[str, object], openai: OpenAIVariables) -> Service:
    where = f"services.{name}"
    fields = mapping(value, where)
    bindings = tuple(_binding(key, entry, where) for key, entry in _keyed(fields.get("models"), where).items())
    for binding in bindings:
        if binding.key not in models:
            raise ProjectError(
                f"service '{name}' refers to undefined model '{binding.key}'{did_you_mean(binding.key, models)}",
                remedy="Declare it under the top-level 'models:'",
            )
    default, openai = _service_options(fields, [binding.key for binding in bindings], openai, where)
    network_mode = fields.get("network_mode")
    if bindings and network_mode == "none":
        raise ProjectError(
            f"service '{name}' uses a model and has network_mode: none, so it cannot reach one",
            remedy="Remove network_mode, or its models",
        )
    environment = {
        key: None if entry is None else str(entry)
        for key, entry in mapping(fields.get("environment"), f"{where}.environment").items()
    }
    return Service(
        name,
        bindings,
        environment,
        None if network_mode is None else str(network_mode),
        default,
        openai,
        _extensions(fields, where),
        _names(fields.get("depends_on"), f"{where}.depends_on"),
        gateway_host=_extra_host(fields.get("extra_hosts"), GATEWAY_HOST),
        containers=_containers(fields, where),
    )


def _extra_host(value: object, name: str) -> str | None:
    """Return the address that `extra_hosts` gives a name.

    Shape:
        `{name: address}`, or a list of `name=address` and `name:address`.
    """
    entries = list(value.items()) if isinstance(value, Mapping) else []
    for entry in value if isinstance(value, list) else []:
        host, _, address = str(entry).partition("=" if "=" in str(entry) else ":")
        entries.append((host, address))
    return next((str(address).strip("[]") for host, address in entries if host == name), None)


def _containers(fields: Mapping[str, object], where: str) -> int:
    """Return how many containers a service has. Compose has checked the numbers; our own reader does not need them."""
    replicas = mapping(fields.get("deploy"), f"{where}.deploy").get("replicas")
    wanted = fields.get("scale", replicas)
    return 0 if fields.get("provider") else wanted if isinstance(wanted, int) else 1


def _names(value: object, where: str) -> tuple[str, ...]:
    """Return names that are a list, or the keys of a mapping."""
    return strings(value, where) if isinstance(value, list) else tuple(mapping(value, where))


def _binding(key: str, value: object, where: str) -> Binding:
    fields = mapping(value, f"{where}.models.{key}")
    refuse_unknown(fields, ("endpoint_var", "model_var"), f"{where}.models.{key}")
    endpoint_var, model_var = fields.get("endpoint_var"), fields.get("model_var")
    return Binding(
        key, None if endpoint_var is None else str(endpoint_var), None if model_var is None else str(model_var)
    )


def _keyed(value: object, where: str) -> Mapping[str, object]:
    """Return `models:` of a service as a mapping; the short syntax is a list."""
    if isinstance(value, list):
        return {text(key, f"{where}.models"): None for key in value}
    return mapping(value, f"{where}.models")


def _service_options(
    fields: Mapping[str, object], used: Sequence[str], openai: OpenAIVariables, where: str
) -> tuple[str | None, OpenAIVariables]:
    """Return what a service says under `x-dmrc`: its default model, and when it is given `OPENAI_*`."""
    options, faults = mapping(fields.get("x-dmrc"), f"{where}.x-dmrc"), Faults()
    with faults.noted():
        refuse_unknown(options, choices.SERVICE_OPTIONS, f"{where}.x-dmrc")
    with faults.noted():
        openai = choices.openai(options.get("openai"), f"{where}.x-dmrc.openai", openai)
    default = options.get("default_model")
    if default is not None and default not in used:
        with faults.noted():
            raise ProjectError(
                f"{where}.x-dmrc.default_model is '{default}', which the service does not use"
                f"{did_you_mean(str(default), used)}",
                remedy=f"It uses {', '.join(used) or 'no model'}",
            )
    faults.tell()
    return None if default is None else str(default), openai


def _extensions(fields: Mapping[str, object], where: str) -> dict[str, JsonValue]:
    return {
        name: plain(value, f"{where}.{name}") for name, value in fields.items() if name.startswith(_EXTENSION_PREFIX)
    }
