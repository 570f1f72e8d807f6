"""`dmrc serve`: the daemon."""

from __future__ import annotations

from pathlib import Path

import click

from dmrc.cli.app import App, pass_app


@click.command(epilog="Example: DMRC_PORT=12500 dmrc serve")
@click.option("--ready-fd", type=int, hidden=True, help="Write one line there: ready, or the error as JSON.")
@click.option(
    "--project",
    "files",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="A project that is up as long as it serves: a file of dmrc export kubernetes. May be repeated.",
)
@click.option(
    "--secrets",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of their secrets, which the record leaves out.",
)
@pass_app
def serve(app: App, ready_fd: int | None, files: tuple[Path, ...], secrets: Path | None) -> None:
    """Run the daemon in the foreground, until Ctrl+C. Commands that need it start it by themselves."""
    import os

    from dmrc.cli.client import error_line
    from dmrc.errors import DmrcError
    from dmrc.gateway.daemon import serve as serve_daemon
    from dmrc.gateway.projects.given import read_given
    from dmrc.gateway.server.logging import configure

    os.umask(0o077)  # the logs and databases are this user's alone, whatever the home's own mode is
    configure(None if ready_fd is None else app.settings.paths.create().daemon_log, app.settings.log_format)

    def tell(line: str) -> None:
        if ready_fd is not None:
            os.write(ready_fd, f"{line}\n".encode())
            os.close(ready_fd)

    def on_ready() -> None:
        # As JSON, stderr holds objects alone; the log tells the address too.
        if ready_fd is None and app.settings.log_format == "text":
            click.echo(f"dmrc serves http://127.0.0.1:{app.settings.port}/engines/v1; Ctrl+C ends it", err=True)
        tell("ready")

    try:
        given = [read_given(file, os.environ, secrets) for file in files]
        serve_daemon(app.settings, app.models, app.engines, app.plugins, on_ready, given)
    except DmrcError as error:
        tell(error_line(error))
        raise
