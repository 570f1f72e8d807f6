"""`dmrc config`: what `dmrc up` would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, project_options
from dmrc.cli.projects.setup.replaying import ReplayWish, what_holds
from dmrc.cli.projects.setup.selection import Selection
from dmrc.cli.replay_options import ReplayCommand, replay_options

if TYPE_CHECKING:
    from dmrc.project import Injection, Project, Service

PLACEHOLDER = "sk-dmrc-…"
"""Stands for a key that `dmrc up` makes, and hides one that it made."""


@click.command(cls=ReplayCommand, epilog="Example: dmrc config --json | jq .services")
@project_options
@replay_options
@json_option
@pass_app
def config(
    app: App,
    selection: Selection,
    replaying: ReplayWish,
    as_json: bool,
) -> None:
    """Print what would be injected, and the override file; start nothing. Keys are masked."""
    import contextlib
    import json
    import os
    from dataclasses import replace

    from dmrc.cli.progress import note
    from dmrc.cli.projects.setup.injection import load_plugins, with_plugins
    from dmrc.cli.projects.setup.prepare import tell_cut_context
    from dmrc.cli.projects.setup.reaching import from_elsewhere
    from dmrc.cli.projects.setup.read_project import read_project
    from dmrc.compose.network import bridge_gateway
    from dmrc.compose.override import GatewayAddress, injections, render
    from dmrc.docker_context import docker_endpoint, no_proxy_of_docker
    from dmrc.errors import DockerError
    from dmrc.project import GATEWAY_HOST

    options = selection.options()
    project = read_project(app, options, replaying=replaying)
    for model in project.models.values():
        tell_cut_context(app, model)
    keys = {service.name: PLACEHOLDER for service in project.consumers}
    for plugin in load_plugins(app, project):
        if plugin.state == "failed":
            note(f"plugin {plugin.identity.origin} is skipped: {plugin.reason}")
    gateway = GatewayAddress(GATEWAY_HOST, app.settings.port)
    with contextlib.suppress(DockerError):  # this command works without Docker, too
        endpoint = docker_endpoint(os.environ)
        no_proxy = no_proxy_of_docker(os.environ, endpoint.host)
        if endpoint.is_local:
            gateway = replace(gateway, no_proxy=no_proxy)
            gateway = replace(gateway, address=bridge_gateway(endpoint.host) or GATEWAY_HOST)
        else:
            gateway = replace(from_elsewhere(app, endpoint), no_proxy=no_proxy)
    injected = with_plugins(app, project, injections(project, keys, gateway))
    if as_json:
        click.echo(json.dumps(_document(project, injected), indent=2))
        return
    for line in filter(None, (what_holds(project.replay), *_fault_lines(project))):
        click.echo(f"# {line}")
    for name, service in project.services.items():
        for line in _lines(service, injected.get(name)):
            click.echo(f"# {line}")
    click.echo(render(project, injected, is_elsewhere=gateway.is_elsewhere), nl=False)


def _fault_lines(project: Project) -> list[str]:
    """Return a line for each plan by which requests fail on purpose."""
    plans = {name: service.faults for name, service in project.services.items()} | {"*": project.faults}
    return [f"{name}: faults on purpose: {plan}" for name, plan in plans.items() if plan is not None and plan.faults]


def _document(project: Project, injected: Mapping[str, Injection]) -> dict[str, object]:
    services = {name: _given(service, injected.get(name)) for name, service in project.services.items()}
    models = {
        model.key: {
            "model": model.name,
            "engine": model.engine,
            "context_size": model.options.context_size,
            "runtime_flags": list(model.options.runtime_flags or ()),
            **({"host": model.options.host} if model.options.host else {}),
            **({"upstream": [each.url for each in upstream.all]} if (upstream := model.options.upstream) else {}),
        }
        for model in project.models.values()
    }
    replay = project.replay.to_json() if project.replay else None
    return {"project": project.name, "models": models, "services": services, "replay": replay}


def _lines(service: Service, injection: Injection | None) -> list[str]:
    """Return what a service is given, what it is not, and why."""
    if injection is None:
        return [f"{service.name}: nothing ({_why_nothing(service)})"]
    lines = [f"{service.name} ({injection.why})"]
    for variable, value in injection.variables.items():
        added_by = injection.added_by.get(variable)
        lines.append(f"  {variable}={value}{f'  (plugin {added_by})' if added_by else ''}")
    lines += [f"  {variable} takes the place of the project's own, as in Compose" for variable in injection.replaced]
    lines += [f"  {variable} stays as the project sets it" for variable in injection.kept]
    return lines + [f"  {variable} is not set: {reason}" for variable, reason in injection.not_set.items()]


def _why_nothing(service: Service) -> str:
    if service.provides:
        return "it is a model, and no container; those that depend on it are given it"
    return "network_mode: none" if service.network_mode == "none" else "it has no models:"


def _given(service: Service, injection: Injection | None) -> dict[str, object]:
    if injection is None:
        why = _why_nothing(service)
        return {"set": {}, "kept": [], "replaced": [], "not_set": {}, "added_by": {}, "why": why}
    return {
        "set": dict(injection.variables),
        "kept": list(injection.kept),
        "replaced": list(injection.replaced),
        "not_set": dict(injection.not_set),
        "added_by": dict(injection.added_by),
        "why": injection.why,
    }
