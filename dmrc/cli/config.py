"""`dmrc config`: what `dmrc up` would do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, project_options

if TYPE_CHECKING:
    from dmrc.project import Injection, Project

PLACEHOLDER = "sk-dmrc-…"
"""Stands for a key that `dmrc up` mints, and hides one that it minted."""


@click.command(epilog="Example: dmrc config --json | jq .services")
@project_options
@json_option
@pass_app
def config(
    app: App,
    files: tuple[str, ...],
    project_name: str | None,
    profiles: tuple[str, ...],
    env_files: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Print what would be injected, and the override file; start nothing. Keys are masked."""
    import json
    import os

    from dmrc.cli.injecting import load_plugins, with_plugins
    from dmrc.cli.progress import note
    from dmrc.cli.reading import Selection, read_project
    from dmrc.compose.override import injections, render
    from dmrc.project import GATEWAY_HOST

    options = Selection(files, project_name, profiles, env_files).options(os.environ)
    project = read_project(app, options, with_docker=False)
    keys = {service.name: PLACEHOLDER for service in project.consumers}
    for plugin in load_plugins(app, project):
        if plugin.state == "failed":
            note(f"plugin {plugin.identity.origin} is skipped: {plugin.reason}")
    injected = with_plugins(app, project, injections(project, keys, GATEWAY_HOST, app.settings.port))
    if as_json:
        click.echo(json.dumps(_document(project, injected), indent=2))
        return
    for name, injection in injected.items():
        click.echo(f"# {name}")
        for variable, value in injection.variables.items():
            added_by = injection.added_by.get(variable)
            click.echo(f"#   {variable}={value}{f'  (plugin {added_by})' if added_by else ''}")
        for variable in injection.kept:
            click.echo(f"#   {variable} stays as the project sets it")
    click.echo(render(project, injected), nl=False)


def _document(project: Project, injected: Mapping[str, Injection]) -> dict[str, object]:
    services = {
        name: {"set": dict(injection.variables), "kept": list(injection.kept), "added_by": dict(injection.added_by)}
        for name, injection in injected.items()
    }
    models = {
        model.key: {
            "model": model.model,
            "engine": model.engine,
            "context_size": model.context_size,
            "runtime_flags": list(model.runtime_flags),
        }
        for model in project.models.values()
    }
    return {"project": project.name, "models": models, "services": services}
