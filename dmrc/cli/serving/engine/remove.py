"""`dmrc engine remove`: the end of a build that was installed."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.serving.engine.chosen import BuildName, builds_of, installer_of


@click.command(epilog="Example: dmrc engine remove vulkan")
@click.argument("name", type=BuildName(only_installed=True))
@click.option("-f", "--force", is_flag=True, help="Also when it is in use.")
@pass_app
def remove(app: App, name: str, force: bool) -> None:
    """Remove a build that was installed. Models that it serves now are served until they are unloaded.

    One that is in use stays, unless --force lets the next models have what is there anyway.
    """
    from dmrc.cli.progress import note

    left = installer_of(app, builds_of(app)).remove(name, force=force)
    note(f"build '{name}' is removed. In use is {left.label}")
