"""`dmrc stop-runner`: the end of the daemon."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app


@click.command("stop-runner", epilog="Example: dmrc stop-runner")
@pass_app
def stop_runner(app: App) -> None:
    """Stop the daemon and the models that run. Projects stay registered: the next dmrc up goes on with their keys."""
    from dmrc.cli.progress import note

    if app.daemon.status() is None:
        note("the daemon does not run")
        return
    app.daemon.stop()
    note("the daemon has stopped")
