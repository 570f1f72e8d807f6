"""`dmrc exec`: a service's program on this machine."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import project_options
from dmrc.cli.projects.setup.replaying import ReplayWish
from dmrc.cli.projects.setup.selection import Selection
from dmrc.cli.replay_options import ReplayCommand, replay_options

_EPILOG = """\b
Example: dmrc exec web -- npm run dev
Example: dmrc exec --replay api -- pytest"""


@click.command("exec", cls=ReplayCommand, epilog=_EPILOG)
@project_options
@replay_options
@click.argument("service")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENTS...]")
@pass_app
def exec_(
    app: App,
    selection: Selection,
    replaying: ReplayWish,
    service: str,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND on this machine with the models and the variables of SERVICE. Needs no Docker.

    The key in the variables ends by dmrc down, or when nothing of the project was asked for a week and it has no
    containers; the next exec makes it valid again.
    """
    import os
    import sys

    from dmrc.cli.foreground import run_in_foreground
    from dmrc.cli.projects.setup.host_environment import host_environment
    from dmrc.cli.projects.setup.replay_report import end_of_run
    from dmrc.errors import NotFoundError

    options = selection.options()
    found = host_environment(app, options, service, replaying, is_run=True)
    environment = {**found.of_shell(os.environ), **found.declared, **found.injected}
    replay = found.project.replay
    try:
        if replay is None or replay.mode is None:
            os.execvpe(command[0], list(command), environment)  # noqa: S606 the user's own command, without a shell
        code = run_in_foreground(command, environment)
    except OSError as error:
        raise NotFoundError(f"cannot run '{command[0]}': {error.strerror}", remedy="Is it on PATH?") from error
    sys.exit(end_of_run(app, found.project, code, found.run))
