"""What a compose file must not say: the part of Compose's own validation that dmrc depends on.

Source: https://github.com/compose-spec/compose-spec/blob/main/schema/compose-spec.json
"""

from __future__ import annotations

import re
from datetime import datetime
from graphlib import CycleError, TopologicalSorter

from dmrc.compose.without_docker.merge import BOOLEANS
from dmrc.compose.without_docker.service_keys import SERVICE_KEYS, TOP_LEVEL_KEYS
from dmrc.errors import ProjectError

_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_INSTALL = "This needs Docker Compose: install it, or write the project without it"
_CONDITIONS = frozenset({"service_started", "service_healthy", "service_completed_successfully"})
_SCALARS = (str, int, float, bool, datetime, type(None))

Mapping = dict[str, object]


def check_document(document: Mapping) -> None:
    """Check one document of one file, before it is merged.

    Raises:
        ProjectError: It needs the real Compose (`include`, `extends`), or uses an unknown key.
    """
    for key in document:
        if key not in TOP_LEVEL_KEYS and not key.startswith("x-"):
            raise ProjectError(f"'{key}' is not a key of a compose file", remedy=f"Known are {_listed(TOP_LEVEL_KEYS)}")
    if document.get("include"):
        raise ProjectError("include is used", remedy=_INSTALL)
    for name, service in _named_mappings(document, "services").items():
        for key in service:
            if key not in SERVICE_KEYS and not key.startswith("x-"):
                raise ProjectError(f"services.{name}.{key} is not a key of a service", remedy="Look for a typing error")
        if "extends" in service:
            raise ProjectError(f"services.{name}.extends is used", remedy=_INSTALL)


def check_project(project: Mapping) -> None:
    """Check what the documents so far make together.

    Raises:
        ProjectError: A value is not of the kind that its key takes; the message names the key.
    """
    if not isinstance(project.get("name", ""), str):
        raise ProjectError("name must be a string", remedy="Quote it")
    for name, model in _named_mappings(project, "models").items():
        _check_model(f"models.{name}", model)
    for name, service in _named_mappings(project, "services").items():
        _check_service(f"services.{name}", service)


def check_references(services: dict[str, Mapping], models: Mapping, declared: frozenset[str]) -> None:
    """Check what the active `services` refer to; `declared` are all services of the project.

    Raises:
        ProjectError: A service refers to something that is not there or not active, has nothing
            to run, or waits for itself.
    """
    for name, service in services.items():
        if not any(service.get(key) for key in ("image", "build", "provider")):
            raise ProjectError(f"service '{name}' has neither an image nor a build", remedy="Give it one")
        if service.get("network_mode") and service.get("networks"):
            raise ProjectError(f"service '{name}' has both network_mode and networks", remedy="Keep one of them")
        for model in _mapping(service.get("models")):
            if model not in models:
                raise ProjectError(
                    f"service '{name}' refers to undefined model '{model}'",
                    remedy=f"Declare it under the top-level models:, where now is {_listed(models) or 'nothing'}",
                )
        _check_dependencies(name, service, services, declared)
    graph = {name: _mapping(service.get("depends_on")).keys() & services.keys() for name, service in services.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise ProjectError(f"services wait for each other: {' -> '.join(error.args[1])}") from error


def _check_dependencies(name: str, service: Mapping, services: dict[str, Mapping], declared: frozenset[str]) -> None:
    """Check that every service which `service` needs is active."""
    for other, entry in _mapping(service.get("depends_on")).items():
        if other in services or (other in declared and not _mapping(entry).get("required", True)):
            continue
        problem = "which no active profile holds" if other in declared else "which is not declared"
        raise ProjectError(f"service '{name}' depends on service '{other}', {problem}")


def _check_model(key: str, model: Mapping) -> None:
    """Check an entry under the top-level `models:`."""
    if "model" not in model:
        raise ProjectError(f"{key}.model is missing", remedy="Name a model: 'model: ai/smollm2'")
    _check_properties(key, model, ("name", "model", "context_size", "runtime_flags"))
    for name in ("name", "model"):
        _check_string(model, key, name)
    size = model.get("context_size", 0)
    if isinstance(size, bool) or not isinstance(size, int | float) or size != int(size):
        hint = "A number in quotes or from a ${VARIABLE} is a string to Compose" if isinstance(size, str) else None
        raise ProjectError(f"{key}.context_size must be an integer, not '{_shown(size)}'", remedy=hint)
    flags = model.get("runtime_flags", [])
    if not isinstance(flags, list):
        raise ProjectError(f"{key}.runtime_flags must be a list of strings", remedy='Write ["--temp", "0.2"]')
    for flag in flags:
        if not isinstance(flag, str):
            raise ProjectError(f"{key}.runtime_flags must hold strings, not '{_shown(flag)}'", remedy="Quote it")


def _check_service(key: str, service: Mapping) -> None:
    """Check the keys of a service that dmrc uses."""
    for name in ("image", "network_mode", "working_dir"):
        _check_string(service, key, name)
    for name in ("build", "networks"):
        if name in service and service[name] is None:
            raise ProjectError(f"{key}.{name} is empty", remedy="Fill it in, or leave it out")
    _check_names(f"{key}.profiles", service.get("profiles", []))
    _check_environment(f"{key}.environment", service.get("environment", {}))
    for name, entry in _check_list_or_mapping(f"{key}.models", service.get("models", {})).items():
        if entry is None:
            continue
        where = f"{key}.models.{name}"
        _check_properties(where, entry, ("endpoint_var", "model_var"))
        for variable in ("endpoint_var", "model_var"):
            _check_string(_mapping(entry), where, variable)
    for name, entry in _check_list_or_mapping(f"{key}.depends_on", service.get("depends_on", {})).items():
        _check_dependency(f"{key}.depends_on.{name}", entry)
    _check_env_file(f"{key}.env_file", service.get("env_file", []))
    if "provider" in service:
        _check_provider(f"{key}.provider", service["provider"])


def _check_dependency(key: str, entry: object) -> None:
    """Check one entry of a `depends_on` in its long form."""
    _check_properties(key, entry, ("condition", "required", "restart"))
    mapping = _mapping(entry)
    condition = mapping.get("condition")
    if condition not in _CONDITIONS:
        raise ProjectError(f"{key}.condition is '{_shown(condition)}'", remedy=f"Take one of {_listed(_CONDITIONS)}")
    for name in ("required", "restart"):
        if str(mapping.get(name, True)).lower() not in BOOLEANS:
            raise ProjectError(f"{key}.{name} must be true or false")


def _check_environment(key: str, environment: object) -> None:
    """Check an `environment` in either form."""
    if isinstance(environment, list):
        for entry in environment:
            if not isinstance(entry, str):
                raise ProjectError(f"{key} must hold KEY=VALUE, not '{_shown(entry)}'")
            if re.search(r"\s$", entry.partition("=")[0]):
                raise ProjectError(f"{key} holds '{entry}', whose name ends in a space")
    elif isinstance(environment, dict):
        for name, value in environment.items():
            if not isinstance(value, _SCALARS):
                raise ProjectError(f"{key}.{name} must be a string, a number, a boolean or null")
    else:
        raise ProjectError(f"{key} must be a list of KEY=VALUE or a mapping")


def _check_env_file(key: str, value: object) -> None:
    """Check an `env_file` in any of its forms."""
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, str):
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str) or not isinstance(value, list):
            raise ProjectError(f"{key} must be a path, or a list of paths or of mappings with a path")
        for name in entry:
            if name not in ("path", "required", "format"):
                raise ProjectError(f"{key}.{name} is not known")
        if not isinstance(entry.get("required", True), bool | str) or entry.get("format", "") not in (
            "",
            ".env",
            "raw",
        ):
            raise ProjectError(f"{key}: '{entry['path']}' has a required or a format that is not known")


def _check_provider(key: str, provider: object) -> None:
    """Check a service's `provider`."""
    _check_properties(key, provider, ("type", "options"))
    mapping = _mapping(provider)
    if not isinstance(mapping.get("type"), str):
        raise ProjectError(f"{key}.type is missing or no string")
    options = mapping.get("options", {})
    if not isinstance(options, dict):
        raise ProjectError(f"{key}.options must be a mapping")
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, str | int | float):
                raise ProjectError(f"{key}.options.{name} must be a string, a number, a boolean or a list of them")


def _check_list_or_mapping(key: str, value: object) -> Mapping:
    """Check a list of names or a mapping of such names; return the mapping, empty for a list."""
    if isinstance(value, list):
        _check_names(key, value)
        return {}
    if not isinstance(value, dict):
        raise ProjectError(f"{key} must be a list of names or a mapping")
    return value


def _check_names(key: str, value: object) -> None:
    """Check a list of strings of which no two are equal."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ProjectError(f"{key} must be a list of strings")
    for item in value:
        if value.count(item) > 1:
            raise ProjectError(f"{key} holds '{item}' twice")


def _check_properties(key: str, value: object, known: tuple[str, ...]) -> None:
    """Check that `value` is a mapping of `known` keys and `x-` ones."""
    if not isinstance(value, dict):
        raise ProjectError(f"{key} must be a mapping", remedy=f"It may hold {_listed(known)}")
    for name in value:
        if name not in known and not name.startswith("x-"):
            raise ProjectError(f"{key}.{name} is not known", remedy=f"Known are {_listed(known)} and x-…")


def _check_string(mapping: Mapping, key: str, name: str) -> None:
    """Check that a key, where it is there, holds a string."""
    if name in mapping and not isinstance(mapping[name], str):
        raise ProjectError(f"{key}.{name} must be a string, not '{_shown(mapping[name])}'", remedy="Quote it")


def _named_mappings(project: Mapping, section: str) -> dict[str, Mapping]:
    """Return `services` or `models`, checked to be a mapping of names to mappings."""
    entries = project.get(section, {})
    if not isinstance(entries, dict):
        raise ProjectError(f"{section} must be a mapping")
    for name, entry in entries.items():
        if not _NAME.fullmatch(name):
            raise ProjectError(
                f"{section} holds '{name}'", remedy="A name is made of letters, digits, '.', '_' and '-'"
            )
        if not isinstance(entry, dict):
            raise ProjectError(f"{section}.{name} must be a mapping")
    return entries


def _mapping(value: object) -> Mapping:
    """Return a mapping as it is, and anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def _listed(names: object) -> str:
    """Return names in one line."""
    return ", ".join(sorted(names)) if isinstance(names, frozenset | dict) else ", ".join(map(str, _sequence(names)))


def _sequence(value: object) -> list[object]:
    """Return a tuple's items."""
    return list(value) if isinstance(value, tuple) else []


def _shown(value: object) -> str:
    """Return a YAML value as the file may have it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
