"""What services are given, with what plugins add to it."""

from __future__ import annotations

from collections.abc import Mapping

from dmrc.cli.app import App
from dmrc.hooks.plugin import Plugin
from dmrc.project import Injection, LocalPlugin, Project

_HOOK = "dmrc_service_environment"


def load_plugins(app: App, project: Project) -> list[Plugin]:
    """Load everybody's plugins and the project's own into this process, and return the project's."""
    app.plugins.load(_HOOK)
    loaded = []
    for path in project.plugins:
        local = LocalPlugin.of(path)
        found = app.plugins.find_local(project.name, local)
        loaded.append(found or app.plugins.load_local(project.name, local))
    return loaded


def with_plugins(app: App, project: Project, injected: Mapping[str, Injection]) -> dict[str, Injection]:
    """Return what services are given after plugins had their say; those of `load_plugins`."""
    extended = dict(injected)
    for name, injection in injected.items():
        service = project.services[name]
        for plugin, more in app.plugins.service_environment(project, service, injection.variables):
            extended[name] = extended[name].extended(service, more, plugin.name)
    return extended


def what_to_say(project: Project, injected: Mapping[str, Injection]) -> list[str]:
    """Return a line for each service that keeps variables of its own, and one for what it is not given for them.

    And one where services are known by their addresses, and may use nothing.
    """
    lines = []
    if project.auth == "address" and not (project.models or project.any_model):
        lines.append("x-dmrc: {auth: address} opens no model, for none is declared. Add models:, or {models: any}")
    for service, injection in injected.items():
        if injection.replaced:
            lines.append(f"{service}: its models: take the place of its own {', '.join(injection.replaced)}")
        if injection.kept:
            lines.append(f"{service}: keeps its own {', '.join(injection.kept)}")
            reasons = dict.fromkeys(injection.not_set.values())
            for reason in reasons:
                names = [name for name, why in injection.not_set.items() if why == reason]
                lines.append(f"{service}: is not given {', '.join(names)}: {reason}")
    return lines
