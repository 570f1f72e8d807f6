"""`dmrc logs`: what the daemon or a model's engine wrote."""

from __future__ import annotations

from pathlib import Path

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import model_name


@click.command(epilog="Example: dmrc logs -f ai/smollm2")
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written, until Ctrl+C.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=200, show_default=True, help="How many at first.")
@click.argument("model", required=False, type=model_name)
@pass_app
def logs(app: App, follow: bool, lines: int, model: str | None) -> None:
    """Print the daemon's log, or with MODEL the log of the engine that serves it."""
    import time
    from collections import deque

    from dmrc.errors import NotFoundError
    from dmrc.log_tail import LogTail

    path = app.settings.paths.daemon_log if model is None else _log_of(app, model)
    try:
        tail = LogTail(path)
    except FileNotFoundError:
        raise NotFoundError("there is no log yet", remedy="The daemon writes it; start it with dmrc up") from None
    for line in deque(tail.read(), maxlen=lines):
        click.echo(line, nl=False)
    while follow:
        time.sleep(0.2)
        for line in tail.read():
            click.echo(line, nl=False)
    tail.close()


def _log_of(app: App, model: str) -> Path:
    """Return the newest log of the runners of a model.

    Raises:
        NotFoundError: It does not run.
    """
    from dmrc.errors import NotFoundError

    digest = app.present(model).digest
    for runner in reversed(app.daemon.runners()):
        if runner["digest"] == digest:
            return app.settings.paths.logs / f"runner-{runner['id']}.log"
    raise NotFoundError(f"model '{model}' does not run", remedy="See: dmrc ps")
