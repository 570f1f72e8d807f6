"""`dmrc plugins`: what is loaded, from where, and how it does."""

from __future__ import annotations

from typing import cast

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option
from dmrc.fields import JsonObject

_HEADERS = ("NAME", "VERSION", "FROM", "STATE", "CALLS", "ERRORS", "MEAN", "DROPPED", "HOOKS")


@click.command(epilog="Example: dmrc plugins --json | jq '.[] | select(.state == \"failed\")'")
@json_option
@pass_app
def plugins(app: App, as_json: bool) -> None:
    """List the plugins: built in, installed, named in DMRC_PLUGINS, and those of the projects that are up.

    Counts are those of the daemon since it started. Where it does not run, the list is of what it would load.
    """
    import json

    from dmrc.cli.progress import note
    from dmrc.cli.tables import print_table
    from dmrc.errors import DaemonNotRunningError

    try:
        found = cast(list[JsonObject], app.daemon.request("GET", "/plugins"))
    except DaemonNotRunningError:
        note("the daemon does not run; this is what it would load")
        found = _would_load(app)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    print_table(_HEADERS, [_row(plugin) for plugin in found])
    for plugin in found:
        if plugin["reason"] is not None:
            click.echo(f"{plugin['name']}: {plugin['reason']}")


def _would_load(app: App) -> list[JsonObject]:
    from dmrc.hooks.specs import KINDS
    from dmrc.projects import Projects

    app.plugins.load(*KINDS)
    if app.settings.paths.registrations.exists():
        projects = Projects(app.settings.paths.registrations)
        for registration in projects.all():
            for local in registration.plugins:
                app.plugins.load_local(registration.name, local)
        projects.close()
    return [plugin.to_json() for plugin in app.plugins.all()]


def _row(plugin: JsonObject) -> list[str]:
    mean, hooks = plugin["mean_ms"], cast(list[str], plugin["hooks"])
    project = f" ({plugin['project']})" if plugin["project"] else ""
    return [
        str(plugin["name"]),
        str(plugin["version"]),
        f"{plugin['from']}{project}",
        str(plugin["state"]),
        str(plugin["calls"]),
        str(plugin["errors"]),
        "-" if mean is None else f"{mean:.1f} ms",
        str(plugin["dropped"]),
        ", ".join(hook.removeprefix("dmrc_") for hook in hooks) or "-",
    ]
