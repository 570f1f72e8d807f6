"""`dmrc exec`: a service's program on this machine."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import project_options
from dmrc.cli.projects.setup.selection import Selection


@click.command("exec", epilog="Example: dmrc exec web -- npm run dev")
@project_options
@click.argument("service")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENTS...]")
@pass_app
def exec_(
    app: App,
    selection: Selection,
    service: str,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND on this machine with the models and the variables of SERVICE. Needs no Docker.

    The key in the variables ends by dmrc down, or when nothing of the project was asked for a week and it has no
    containers; the next exec makes it valid again.
    """
    import os

    from dmrc.cli.projects.setup.host_environment import host_environment
    from dmrc.errors import NotFoundError

    options = selection.options()
    found = host_environment(app, options, service, load=True)
    environment = {**found.of_shell(os.environ), **found.declared, **found.injected}
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606 the user's own command, without a shell
    except OSError as error:
        raise NotFoundError(f"cannot run '{command[0]}': {error.strerror}", remedy="Is it on PATH?") from error
