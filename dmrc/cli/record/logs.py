"""`dmrc logs`: what the daemon or a model's engine wrote."""

from __future__ import annotations

from pathlib import Path

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import model_name
from dmrc.fields import JsonObject


@click.command(epilog="Example: dmrc logs -f ai/smollm2")
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written, until Ctrl+C.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=200, show_default=True, help="How many at first.")
@click.option("--replica", metavar="NAME", help="With MODEL: the log of this replica, as dmrc ps has it.")
@click.argument("model", required=False, type=model_name)
@pass_app
def logs(app: App, follow: bool, lines: int, replica: str | None, model: str | None) -> None:
    """Print the daemon's log, or with MODEL the log of the engine that serves it."""
    import time
    from collections import deque

    from dmrc.errors import NotFoundError
    from dmrc.log_tail import LogTail

    if replica is not None:
        click.echo(_log_of_replica(app, model, replica, lines, follow=follow), nl=False)
        return
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
        NotFoundError: It does not run, or runs elsewhere, where its log is.
    """
    from dmrc.cli.serving.ps import is_elsewhere
    from dmrc.errors import NotFoundError
    from dmrc.json_values import items_of

    runner = _runners_of(app, model)[0]
    path = app.settings.paths.logs / f"runner-{runner['id']}.log"
    if is_elsewhere(runner) and not path.exists():
        there = [str(one["name"]) for one in items_of(runner.get("replicas"))] if runner.get("host") else []
        remedy = f"Run: dmrc logs {model} --replica {there[0]}" if there else "Read it there"
        raise NotFoundError(f"the log of model '{model}' is where it runs", remedy=remedy)
    return path


def _log_of_replica(app: App, model: str | None, replica: str, lines: int, *, follow: bool) -> str:
    """Return the last lines of a replica, which may be on another machine: its runner is asked for them.

    Raises:
        InputError: No model is named, or the log is to be followed.
        NotFoundError: The model does not run, or has no such replica.
    """
    from dmrc.errors import InputError, NotFoundError
    from dmrc.json_values import items_of

    if model is None:
        raise InputError("--replica needs the model that it is of", remedy="Run: dmrc logs MODEL --replica NAME")
    if follow:
        raise InputError("--follow does not go with --replica", remedy="Leave it out")
    runners = _runners_of(app, model)
    names = {str(one["name"]): str(runner["id"]) for runner in runners for one in items_of(runner.get("replicas"))}
    if replica not in names:
        known = f"it has {', '.join(names)}" if names else "it has none"
        raise NotFoundError(f"model '{model}' has no replica '{replica}': {known}", remedy="See: dmrc ps")
    return app.daemon.replica_log(names[replica], replica, lines)


def _runners_of(app: App, model: str) -> list[JsonObject]:
    """Return the runners of a model, the newest first; of a model that is served elsewhere those that have its name.

    Raises:
        NotFoundError: It does not run.
    """
    from dmrc.capture.summary import model_name
    from dmrc.cli.serving.ps import is_elsewhere
    from dmrc.errors import NotFoundError

    runners, name = app.daemon.runners()[::-1], model_name(model)
    found = [runner for runner in runners if is_elsewhere(runner) and model_name(str(runner["model"])) == name]
    if not found:
        digest = app.present(model).digest
        found = [runner for runner in runners if runner["digest"] == digest]
    if not found:
        raise NotFoundError(f"model '{model}' does not run", remedy="See: dmrc ps")
    return found
