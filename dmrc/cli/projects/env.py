"""`dmrc env`: the variables of one service, for programs outside of containers."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import project_options
from dmrc.cli.projects.setup.replaying import ReplayWish
from dmrc.cli.projects.setup.selection import Selection
from dmrc.cli.replay_options import ReplayCommand, replay_options


@click.command(cls=ReplayCommand, epilog='Example: eval "$(dmrc env web --format export)"')
@project_options
@replay_options
@click.option(
    "--format", "form", type=click.Choice(["dotenv", "export", "json"]), default="dotenv", help="Default: dotenv."
)
@click.argument("service")
@pass_app
def env(
    app: App,
    selection: Selection,
    replaying: ReplayWish,
    form: str,
    service: str,
) -> None:
    """Print the variables that SERVICE is given, as a program on this machine needs them.

    Its models are pulled and the project is registered, so that the variables work: until dmrc down, or until nothing
    of the project was asked for a week and it has no containers.
    """
    import json
    import shlex

    from dmrc.cli.projects.setup.host_environment import host_environment

    options = selection.options()
    variables = host_environment(app, options, service, replaying, is_run=False).injected
    if form == "json":
        click.echo(json.dumps(variables, indent=2))
        return
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}" if form == "export" else f"{name}={value}")
