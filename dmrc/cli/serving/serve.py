"""`dmrc serve`: the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.projects.setup.replaying import ReplayWish, check_cassettes, what_holds
from dmrc.cli.replay_options import ReplayCommand, replay_options
from dmrc.project.replay import DEFAULT_CASSETTES, Replay

if TYPE_CHECKING:
    from dmrc.settings import Settings


def _for_ssh(context: click.Context, _option: click.Parameter, link: Path | None) -> None:
    """Serve nothing, and lead a link to the daemon, for the dmrc of another machine."""
    if link is None or context.resilient_parsing:
        return
    from dmrc.cli.serving.hosting import lead_to_daemon

    lead_to_daemon(context.obj, link)
    context.exit()


@click.command(cls=ReplayCommand, epilog="Example: dmrc serve --listen 192.0.2.7 --tls-cert box.pem --tls-key box.key")
@click.option("--listen", metavar="ADDRESS[:PORT]", help="Listen for other machines too; they need a key. [12435]")
@click.option("--tls-cert", metavar="FILE", help="Certificate for --listen, with its chain, in PEM.")
@click.option("--tls-key", metavar="FILE", help="Its key, in PEM.")
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
@replay_options
@click.option("--for-ssh", type=click.Path(path_type=Path), hidden=True, expose_value=False, callback=_for_ssh)
@pass_app
def serve(
    app: App,
    /,
    ready_fd: int | None,
    files: tuple[Path, ...],
    secrets: Path | None,
    replaying: ReplayWish,
    **named: str | None,
) -> None:
    """Run the daemon in the foreground, until Ctrl+C. Commands that need it start it by themselves.

    With --listen other machines may use the models here, by TLS and with a key of dmrc key create; the page and what
    manages models stay on this machine. A renewed certificate is taken without a restart. DMRC_LISTEN, DMRC_TLS_CERT
    and DMRC_TLS_KEY say the same to a daemon that a command starts.

    --record, --replay and --replay-or-record are for whoever asks without a project; projects say it by dmrc up. DIR
    is ./cassettes unless it is named.
    """
    import os

    from dmrc.cli.client import error_line
    from dmrc.errors import DmrcError
    from dmrc.gateway.process import serve as serve_daemon
    from dmrc.gateway.projects.given import read_given
    from dmrc.gateway.server.logging import configure
    from dmrc.settings import Settings

    replay = _replay(replaying)
    os.environ |= {f"DMRC_{name.upper()}": value for name, value in named.items() if value is not None}
    app.settings = Settings.from_environment(os.environ)
    os.umask(0o077)  # the logs and databases are this user's alone, whatever the home's own mode is
    configure(None if ready_fd is None else app.settings.paths.create().daemon_log, app.settings.log_format)

    def tell(line: str) -> None:
        if ready_fd is not None:
            os.write(ready_fd, f"{line}\n".encode())
            os.close(ready_fd)

    def on_ready() -> None:
        # As JSON, stderr holds objects alone; the log tells the address too.
        if ready_fd is None and app.settings.log_format == "text":
            _tell(app.settings, replay)
        tell("ready")

    try:
        given = [read_given(file, os.environ, secrets) for file in files]
        serve_daemon(app.settings, app.models, app.engines, app.plugins, on_ready, given, replay)
    except DmrcError as error:
        tell(error_line(error))
        raise


def _tell(settings: Settings, replay: Replay | None) -> None:
    click.echo(f"dmrc serves http://127.0.0.1:{settings.port}/engines/v1; Ctrl+C ends it", err=True)
    if settings.listening is not None:
        click.echo(f"and other machines, with a key, at {settings.listening.url}", err=True)
    if what := what_holds(replay):
        click.echo(f"requests of no project: {what}", err=True)


def _replay(wish: ReplayWish) -> Replay | None:
    """Return what the options say of requests of no project; None where they say nothing.

    Raises:
        UsageError: A speed is given where nothing is replayed.
        NotFoundError: It is to be replayed, and there is no cassette.
    """
    if wish.speed is not None and wish.mode in (None, "record"):
        raise click.UsageError("--replay-speed is for --replay and --replay-or-record")
    if wish.mode is None:
        return None
    directory = Path.cwd() / (wish.directory or DEFAULT_CASSETTES)
    replay = Replay(directory=str(directory), mode=wish.mode, speed=wish.speed or 0.0)
    check_cassettes(replay, "dmrc serve --record")
    return replay
