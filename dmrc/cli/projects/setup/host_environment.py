"""One service run on this machine: the same models and variables as its container, no container."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from dmrc.cli.app import App
from dmrc.cli.progress import note
from dmrc.cli.projects.setup.injection import load_plugins, with_plugins
from dmrc.cli.projects.setup.prepare import PrepareOptions, override_path, prepare
from dmrc.cli.projects.setup.project_lock import project_lock
from dmrc.cli.projects.setup.read_project import read_project, upstream_keys
from dmrc.cli.projects.setup.replay_report import settle_recording
from dmrc.cli.projects.setup.replaying import (
    AS_THE_PROJECT_SAYS,
    AsOthersDo,
    ReplayWish,
    cassettes_meant,
    check_replay,
)
from dmrc.compose.command import ComposeOptions
from dmrc.compose.override import injections, render, write
from dmrc.errors import NotFoundError
from dmrc.fields import JsonObject, mapping
from dmrc.project import GATEWAY_HOST, Access, Project, Replay, Service, inject
from dmrc.project.injection import URL_NAMES


@dataclass(frozen=True, slots=True)
class HostEnvironment:
    """What a service's program is given outside of its container."""

    injected: dict[str, str]
    """What dmrc adds."""
    declared: dict[str, str]
    """What the project sets under `environment:` and `env_file:`."""
    project: Project
    """The service's."""
    run: JsonObject | None
    """The run with cassettes that this command is of; None where there is none."""

    def of_shell(self, shell: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of the shell without its own OpenAI server: our key is not for that."""
        foreign = URL_NAMES if self.injected.keys() & {*URL_NAMES} else ()
        return {name: value for name, value in shell.items() if name not in foreign}


def host_environment(
    app: App, options: ComposeOptions, service: str, replaying: ReplayWish, *, is_run: bool
) -> HostEnvironment:
    """Prepare the project, and return the variables of one service, whose program this process is to run if `is_run`.

    A project whose containers run already stays as it is, keys and all. Where it is replayed or recorded just now, so
    is this, unless `replaying` says something: no request shall go to a model because a second command was run.

    Raises:
        NotFoundError: There is no such service, or it uses no model.
        DmrcError: A model cannot be had.
    """
    registered = {str(entry["name"]): entry for entry in _registered(app)}
    if replaying == AS_THE_PROJECT_SAYS:
        held = {name: entry["replay"] for name, entry in registered.items() if entry.get("replay")}
        replaying = AsOthersDo(held={name: Replay.from_json(mapping(one, "replay")) for name, one in held.items()})
    project = read_project(app, options, replaying=replaying)
    wanted = _service(project, service)
    settle_recording(app, project)
    for line in check_replay(project, [wanted], app.settings.capture):
        note(line)
    docker_host = registered.get(project.name, {}).get("docker_host")
    models = project.models_of([wanted])
    keys = upstream_keys(project, models, options, os.environ)
    wish = PrepareOptions(
        str(docker_host) if docker_host else None,
        keys,
        models,
        load=is_run,
        is_used_here=True,
        program_of=service if is_run else None,
    )
    prepared = prepare(app, project, wish)
    load_plugins(app, project)
    if not override_path(app, project.name).exists():
        with project_lock(app, project.name):
            if not override_path(app, project.name).exists():
                # The web page shows what services are given.
                gateway = prepared.gateway
                everything = with_plugins(app, project, injections(project, prepared.keys, gateway))
                text = render(project, everything, is_elsewhere=gateway.is_elsewhere)
                write(override_path(app, project.name), text)
    injection = inject(project, wanted, _access(app, prepared.keys[service]))
    injection = with_plugins(app, project, {service: injection})[service]
    declared = {name: value for name, value in wanted.environment.items() if value is not None}
    return HostEnvironment(dict(injection.variables), declared, project, prepared.run)


def _service(project: Project, name: str) -> Service:
    """Return a service, which must use a model; raises as `Project.service` does."""
    try:
        return project.service(name)
    except NotFoundError as error:
        raise NotFoundError(error.message, remedy=cassettes_meant(project, name) or error.remedy) from None


def _access(app: App, key: str) -> Access:
    """Return how a program on this machine reaches the gateway, past the proxies of its shell."""
    before = {name: value for name, value in os.environ.items() if name in ("NO_PROXY", "no_proxy")}
    names = ("127.0.0.1", "localhost", GATEWAY_HOST)
    return Access(host="127.0.0.1", port=app.settings.port, key=key, names=names, no_proxy_before=before)


def _registered(app: App) -> list[dict[str, object]]:
    if app.daemon.status() is None:
        return []
    found = app.daemon.request("GET", "/projects")
    return [dict(entry) for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
