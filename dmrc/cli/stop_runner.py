"""`dmrc stop-runner`: the end of the daemon."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app

_STOP_SECONDS = 20.0


@click.command("stop-runner", epilog="Example: dmrc stop-runner")
@pass_app
def stop_runner(app: App) -> None:
    """Stop the daemon and the models that run. Projects stay registered: the next dmrc up goes on with their keys."""
    import time

    import psutil

    from dmrc.cli.progress import note
    from dmrc.errors import DaemonError

    status = app.daemon.status()
    if status is None:
        note("the daemon does not run")
        return
    app.daemon.request("POST", "/stop")
    deadline = time.monotonic() + _STOP_SECONDS
    while psutil.pid_exists(int(str(status["pid"]))):
        if time.monotonic() > deadline:
            raise DaemonError("the daemon does not stop", remedy=f"See {app.settings.paths.daemon_log}")
        time.sleep(0.05)
    note("the daemon has stopped")
