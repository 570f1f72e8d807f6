"""Projects that the daemon is given when it starts, by files: where no command can register them, as in a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dmrc.errors import InputError, ProjectError
from dmrc.gateway.projects.membership import Membership
from dmrc.gateway.serving.upstream_keys import UpstreamKeys
from dmrc.projects import Projects, Registration


@dataclass(frozen=True, slots=True)
class GivenProject:
    """One such project."""

    registration: Registration
    """What is known of it; of its keys the hashes."""
    upstream_keys: Mapping[str, str] = field(repr=False)
    """Keys of its upstreams, by the variables that hold them."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Values that must not be recorded."""


def read_given(path: Path, environ: Mapping[str, str], secrets: Path | None) -> GivenProject:
    """Read the file of a project, the keys of its upstreams out of the environment, and its secrets out of a file.

    Shape:
        The project is `Registration.to_json`, as `dmrc export kubernetes` writes it into the ConfigMap of the gateway;
        `secrets` is `{"shop": ["hunter2", …]}`, out of a Secret of its.

    Raises:
        InputError: A file cannot be read.
        ProjectError: It is no registration, or the key of an upstream is not set.
    """
    try:
        registration = Registration.from_json(_read(path))
    except ProjectError as error:
        raise ProjectError(f"'{path}': {error.message}", remedy="Write it anew: dmrc export kubernetes") from error
    upstreams = (model.options.upstream for model in registration.models.values())
    places = (place for each in upstreams if each is not None for place in each.all)
    wanted = dict.fromkeys(place.key for place in places if place.key is not None)
    missing = [name for name in wanted if not environ.get(name)]
    if missing:
        raise ProjectError(f"'{path}' wants the keys of upstreams in {', '.join(missing)}", remedy="Set the variables")
    values = () if secrets is None else _values(secrets, registration.name)
    registration = replace(registration, is_given=True)
    return GivenProject(registration, {name: environ[name] for name in wanted}, values)


def take_in(
    given: Sequence[GivenProject], projects: Projects, upstream_keys: UpstreamKeys, members: Membership
) -> None:
    """Register the projects that are given, in the place of all that the last daemon was given."""
    for known in projects.all():
        if known.is_given:  # who is not among them now has no key any more
            projects.unregister(known.name)
    for project in given:
        name = project.registration.name
        projects.register(project.registration.recorded())
        upstream_keys.put(name, project.upstream_keys)
        members.remember_secrets(name, [*project.secrets])


def _values(path: Path, project: str) -> tuple[str, ...]:
    try:
        values = json.loads(_read(path))[project]
        return tuple(map(str, values)) if isinstance(values, list) else ()
    except (ValueError, KeyError, TypeError) as error:
        raise ProjectError(
            f"'{path}' has no list of the secrets of project '{project}'",
            remedy="Write it anew: dmrc export kubernetes",
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}") from error
