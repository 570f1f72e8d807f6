"""The command `dmrc top`."""

from __future__ import annotations

import os
import sys

import click

from dmrc.cli.app import App, pass_app


@click.command(epilog="Example: dmrc top --project shop")
@click.option("--project", metavar="NAME", help="Only requests of this Compose project.")
@click.option("--service", metavar="NAME", help="Only requests of this service.")
@pass_app
def top(app: App, project: str | None, service: str | None) -> None:
    r"""Watch what happens now: requests that run, models with their memory and queue, and the last requests.

    \b
    Up, Down, Tab  move          Enter  show it whole       /  filter
    c  cancel a request          u      unload a model      f  failures only
    q  quit

    It goes on when the daemon is away, and looks again until it is there.
    """
    from dmrc.errors import InputError

    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") in (None, "", "dumb"):
        raise InputError(
            "dmrc top needs a terminal that can move its cursor",
            remedy="For lines use: dmrc ps, and dmrc requests --follow",
        )
    from dmrc.cli.record.top.screen import TopApp
    from dmrc.cli.record.top.watching import Watching

    TopApp(Watching(app.daemon, app.settings.paths.exchanges, project, service)).run()
