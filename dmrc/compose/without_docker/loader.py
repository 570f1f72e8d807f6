"""Compose files read without Docker, for `dmrc exec` and `dmrc env`.

Where Docker is, `docker compose config` reads the project. This loader returns what that would
print, for the part of it that dmrc uses, and refuses what it does not know.

Source: https://github.com/compose-spec/compose-go/blob/main/loader/loader.go
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dmrc.compose import yaml_text
from dmrc.compose.dotenv import read_into, with_env_files
from dmrc.compose.files import absolute
from dmrc.compose.interpolation import interpolate
from dmrc.compose.without_docker.checks import check_document, check_project, check_references
from dmrc.compose.without_docker.merge import BOOLEANS, as_text, expand_service, merge_files
from dmrc.errors import ProjectError
from dmrc.paths import expanded
from dmrc.project import knows_addresses

_KEPT = ("environment", "models", "network_mode", "profiles", "working_dir", "depends_on", "provider")
_KEPT_ON_TOP = ("name", "models", "secrets")
_READ = frozenset((*_KEPT, "env_file", "image", "build", "networks", "links", "volumes_from"))
_NAMESPACES = ("network_mode", "ipc", "pid", "uts", "cgroup")
_NAME_RULE = "A name is made of a-z, 0-9, '-' and '_', and starts with a letter or digit"


def load(
    files: Sequence[Path],
    *,
    environ: Mapping[str, str],
    env_files: Sequence[Path] = (),
    profiles: Sequence[str] = (),
    project_name: str | None = None,
    directory: Path | None = None,
) -> dict[str, object]:
    """Return the project that `files`, in this order, make together.

    `environ` is the command's environment (`dmrc.compose.files.command_environ`), `env_files` are
    those of `--env-file`; without them `.env` beside the first file counts. `profiles` are those
    of `--profile`; without them COMPOSE_PROFILES counts. `project_name` is that of `-p`; without
    it COMPOSE_PROJECT_NAME, `name:` and the name of `directory` count, in this order; that is where
    relative paths begin, by default the first file's.

    Shape:
        The mapping of `docker compose config` in YAML, restricted to `name`, `services` (each with
        environment, models, network_mode, profiles, working_dir, depends_on, provider, x-…),
        `models`, `secrets` (as written) and `x-…`; what is empty is left out. Values are plain:
        where `config` writes `$$` for a dollar, here stands one. With `x-dmrc: {auth: address}` models that
        no service lists are among it. `environment` holds what
        `env_file` brought, with None for a variable that has no value anywhere. Models keep the
        order of the files; `config` sorts.

    Raises:
        ProjectError: A file is missing, does not parse, says something impossible or needs the
            real Compose; the message starts with the file and names line or key.
    """
    directory = directory or absolute(files[0]).parent
    environment = with_env_files(environ, directory, env_files)
    documents = [(file, document) for file in files for document in _documents(file)]
    if not documents:
        raise ProjectError(f"{files[0]} is an empty compose file", remedy="Declare at least one service in it")
    name = _project_name(documents, project_name, environment, directory)
    environment["COMPOSE_PROJECT_NAME"] = name
    project = _merged(documents, environment)
    try:
        return _select(project, name, _active_profiles(profiles, environment), directory, environment)
    except ProjectError as error:
        raise ProjectError(f"{files[0]}: {error.message}", remedy=error.remedy) from error


def _documents(file: Path) -> list[dict[str, object]]:
    """Return the YAML documents of one file."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ProjectError(f"compose file '{file}' cannot be read: {reason}") from error
    documents: list[dict[str, object]] = []
    for document in yaml_text.read(text, str(file)):
        if not isinstance(document, dict):
            raise ProjectError(f"{file}: the file's top level must be a mapping", remedy="Start with 'services:'")
        documents.append(document)
    return documents


def _project_name(
    documents: Sequence[tuple[Path, dict[str, object]]],
    given: str | None,
    environment: Mapping[str, str],
    directory: Path,
) -> str:
    """Return the project's name."""
    explicit = given or environment.get("COMPOSE_PROJECT_NAME")
    if explicit:
        if explicit != _normalised(explicit):
            raise ProjectError(f"'{explicit}' cannot name a project", remedy=_NAME_RULE)
        return explicit
    written = [document["name"] for _, document in documents if isinstance(document.get("name"), str)]
    last = next((name for name in reversed(written) if name), directory.name)
    name = _normalised(str(interpolate(last, environment.get, key="name") if any(written) else last))
    if not name:
        raise ProjectError(f"'{last}' leaves nothing to name the project by", remedy=f"Give -p NAME. {_NAME_RULE}")
    return name


def _normalised(name: str) -> str:
    """Return what Compose makes of a directory's name."""
    return re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")


def _merged(documents: Sequence[tuple[Path, dict[str, object]]], environment: Mapping[str, str]) -> dict[str, object]:
    """Return what all documents make together; an error names the file that brought it in."""
    project: dict[str, object] = {}
    for file, document in documents:
        try:
            project = _add_document(project, document, environment)
        except ProjectError as error:
            raise ProjectError(f"{file}: {error.message}", remedy=error.remedy) from error
    return project


def _add_document(
    project: dict[str, object], document: dict[str, object], environment: Mapping[str, str]
) -> dict[str, object]:
    """Return `project` with the next document on top of it."""
    interpolated = interpolate(document, environment.get)
    if not isinstance(interpolated, dict):
        return project
    check_document(interpolated)
    merged = merge_files(project, _pruned(interpolated))
    check_project(merged)
    return {**merged, "services": {name: expand_service(service) for name, service in _services(merged).items()}}


def _pruned(document: dict[str, object]) -> dict[str, object]:
    """Return what dmrc reads of a document: the rest may merge by rules of its own."""
    kept = {key: value for key, value in document.items() if key in _KEPT_ON_TOP or key.startswith("x-")}
    services = {
        name: {key: value for key, value in service.items() if key in _READ or _is_extension(key) or key in _NAMESPACES}
        for name, service in _services(document).items()
    }
    return {**kept, "services": services}


def _services(project: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Return the services of a checked document or project."""
    services = project.get("services")
    return services if isinstance(services, dict) else {}


def _is_extension(key: str) -> bool:
    """Say whether a service's key is free for extensions; Compose renames `x-develop`."""
    return key.startswith("x-") and key != "x-develop"


def _active_profiles(given: Sequence[str], environment: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the active profiles; `*` stands for all."""
    if given:
        return frozenset(given)
    return frozenset(name.strip() for name in environment.get("COMPOSE_PROFILES", "").split(","))


def _select(
    project: dict[str, object],
    name: str,
    profiles: frozenset[str],
    directory: Path,
    environment: Mapping[str, str],
) -> dict[str, object]:
    """Return the project with its active services and the models that these use."""
    every = {key: _with_implied_dependencies(service) for key, service in _services(project).items()}
    active = {key: service for key, service in every.items() if _is_active(service, profiles)}
    declared = project.get("models")
    models = declared if isinstance(declared, dict) else {}
    check_references(active, models, frozenset(every))
    used = {model for service in active.values() for model in _mapping(service.get("models"))}
    used |= set(models) if knows_addresses(project) else set()
    result: dict[str, object] = {"name": name}
    result["services"] = {key: _finished_service(service, directory, environment) for key, service in active.items()}
    if used:
        result["models"] = {key: _finished_model(_mapping(models[key])) for key in models if key in used}
    if secrets := _mapping(project.get("secrets")):
        result["secrets"] = secrets
    return result | {key: value for key, value in project.items() if key.startswith("x-")}


def _is_active(service: Mapping[str, object], profiles: frozenset[str]) -> bool:
    """Say whether a service has no profile or an active one."""
    own = service.get("profiles")
    return not isinstance(own, list) or not own or "*" in profiles or not profiles.isdisjoint(own)


def _with_implied_dependencies(service: dict[str, object]) -> dict[str, object]:
    """Return a service that also depends on those whose network, volumes or links it uses."""
    depends_on = dict(_mapping(service.get("depends_on")))
    started = {"condition": "service_started", "required": True}
    implied = [(str(link).split(":")[0], True) for link in _list(service.get("links"))]
    namespaces = [str(service.get(key, "")) for key in _NAMESPACES]
    implied += [(space.removeprefix("service:"), True) for space in namespaces if space.startswith("service:")]
    sources = [str(source) for source in _list(service.get("volumes_from"))]
    implied += [(source.split(":")[0], False) for source in sources if not source.startswith("container:")]
    for other, restart in implied:
        depends_on.setdefault(other, {**started, "restart": True} if restart else dict(started))
    return {**service, "depends_on": depends_on}


def _finished_service(service: dict[str, object], directory: Path, environment: Mapping[str, str]) -> dict[str, object]:
    """Return an active service as `docker compose config` prints it."""
    finished = dict(service)
    finished["environment"] = _service_environment(service, directory, environment)
    finished["depends_on"] = {
        other: {key: value for key, value in _mapping(entry).items() if key != "restart" or value}
        for other, entry in _mapping(service.get("depends_on")).items()
    }
    models = _mapping(service.get("models"))
    finished["models"] = {
        key: _without_empty(entry) if isinstance(entry, dict) else None for key, entry in models.items()
    }
    if provider := _mapping(service.get("provider")):
        finished["provider"] = _finished_provider(provider)
    return {key: value for key, value in finished.items() if key.startswith("x-") or (key in _KEPT and value)}


def _service_environment(
    service: Mapping[str, object], directory: Path, environment: Mapping[str, str]
) -> dict[str, str | None]:
    """Return a service's variables: its `environment` over its env files."""
    own: dict[str, str | None] = {}
    written = service.get("environment")
    if isinstance(written, dict):
        own = {key: None if value is None else as_text(value) for key, value in written.items()}
    for entry in _list(written):
        key, has_value, value = str(entry).partition("=")
        own[key] = value if has_value else None
    own = {key: environment.get(key) if value is None else value for key, value in own.items()}

    def find(key: str) -> str | None:
        value = environment.get(key)
        return own.get(key) if value is None else value

    variables = {key: value for key, value in own.items() if value is not None}
    for entry in map(_mapping, _list(service.get("env_file"))):
        file = directory / expanded(str(entry["path"]))
        if file.exists():
            read_into(variables, file, find, raw=entry.get("format") == "raw")
        elif BOOLEANS.get(str(entry["required"]).lower()):
            raise ProjectError(f"env file '{file}' is not there", remedy="Write it, or mark it required: false")
    return {**variables, **own}


def _finished_model(model: dict[str, object]) -> dict[str, object]:
    """Return a model as `docker compose config` prints it."""
    size = model.get("context_size")
    finished = {**model, "context_size": int(size)} if isinstance(size, float) else model
    return _without_empty(finished)


def _finished_provider(provider: dict[str, object]) -> dict[str, object]:
    """Return a provider whose options are lists of strings."""
    options = {
        key: [as_text(item) for item in (value if isinstance(value, list) else [value])]
        for key, value in _mapping(provider.get("options")).items()
        if value != []
    }
    return _without_empty({**provider, "options": options})


def _without_empty(mapping: dict[str, object]) -> dict[str, object]:
    """Return a mapping without the keys that hold nothing; extensions stay."""
    return {key: value for key, value in mapping.items() if value or key.startswith("x-")}


def _mapping(value: object) -> dict[str, object]:
    """Return a mapping as it is, and anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    """Return a list as it is, and anything else as an empty one."""
    return value if isinstance(value, list) else []
