"""Commands that print the same facts as dmrc's own, in Docker Model Runner's words; `--json` is dmrc's.

Source: https://github.com/docker/model-runner/tree/main/cmd/cli/commands
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.models.push import push as dmrc_push
from dmrc.cli.models.show import show as dmrc_show
from dmrc.cli.options import json_option, model_name
from dmrc.cli.record.status import status as dmrc_status
from dmrc.cli.record.version import version as dmrc_version
from dmrc.cli.serving.ps import is_elsewhere
from dmrc.cli.serving.ps import ps as dmrc_ps
from dmrc.fields import JsonObject

if TYPE_CHECKING:
    from dmrc.models.pushing import PushForm

_ORDER = ("Running", "Error", "Not Installed", "Installing")


def _worded(command: click.Command, tell: Callable[..., object]) -> click.Command:
    """Return the same command, which without `--json` calls `tell` with the app and its other arguments."""

    @pass_app
    def callback(app: App, /, as_json: bool, **arguments: Any) -> object:
        if as_json and command.callback is not None:
            return click.get_current_context().invoke(command.callback, as_json=True, **arguments)
        return tell(app, **arguments)

    worded = copy.copy(command)
    worded.callback = callback
    return worded


def _status(app: App) -> int:
    from dmrc.cli.record.status import status_document
    from dmrc.cli.tables import print_table

    document = status_document(app)
    if not document["running"]:
        click.echo("Docker Model Runner is not running\n\nIt starts by itself: docker model run MODEL")
        return 1
    click.echo("Docker Model Runner is running\n")
    backends = document["backends"]
    states = backends.items() if isinstance(backends, dict) else ()
    rows = [[name, *str(state).split(": ", 1)] for name, state in states]
    print_table(("BACKEND", "STATUS", "DETAILS"), sorted(rows, key=lambda row: (_ORDER.index(row[1]), row[0])))
    return 0


def _version(app: App) -> None:
    import platform

    from dmrc import __version__
    from dmrc.cli.record.status import status_document

    machine = platform.machine().lower()
    processor = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    document = status_document(app)
    server = document["version"] if document["running"] else "(not reachable)"
    click.echo(f"Client:\n Version:    {__version__}\n OS/Arch:    {platform.system().lower()}/{processor}\n")
    click.echo(f"Server:\n Version:    {server}\n Engine:     {document['kind']}")


def _ps(app: App) -> None:
    from dmrc.cli.tables import print_table

    rows = []
    for runner in app.daemon.runners():
        model = str(runner["model"])
        name = model if is_elsewhere(runner) else _short(app, model)
        rows.append([name, str(runner["engine"]), str(runner["mode"]), _until(runner)])
    print_table(("MODEL NAME", "BACKEND", "MODE", "UNTIL"), rows)


def _short(app: App, model: str) -> str:
    from dmrc.reference import Reference

    return Reference.parse(model).display(default_registry=app.settings.default_registry).removesuffix(":latest")


def _until(runner: JsonObject) -> str:
    """Return when it goes. One that is in use does not go before its keep-alive has passed."""
    import time

    from dmrc.cli.tables import duration

    if runner["loading"]:
        return "Loading..."
    if runner["keep_alive_seconds"] == -1:
        return "Forever"
    expires, keep_alive = runner["expires_at"], runner["keep_alive_seconds"]
    left = expires - time.time() if isinstance(expires, float) else keep_alive
    if runner["state"] == "draining" or not isinstance(left, int | float) or left <= 0:
        return "Expiring"
    return f"{duration(left)} from now"


@click.command(epilog="Example: docker model unload ai/smollm2")
@click.argument("models", nargs=-1, type=model_name, metavar="[MODEL...]")
@click.option("--all", "everything", is_flag=True, help="Unload all models.")
@click.option("--engine", "--backend", "engine", metavar="NAME", help="Only those of this engine.")
@json_option
@click.pass_context
def unload(
    context: click.Context, models: tuple[str, ...], everything: bool, engine: str | None, as_json: bool
) -> None:
    """Unload models from memory, each when it has finished what it does. They stay in the store."""
    import json

    from dmrc.cli.serving.unload import unload_models

    if engine and not models and not everything:
        raise click.UsageError("--backend alone says no model: name some, or say --all")
    unloaded, _ = unload_models(context.ensure_object(App), models, everything=everything, engine=engine)
    if as_json:
        click.echo(json.dumps({"unloaded": unloaded}))
    elif unloaded:
        click.echo(f"Unloaded {len(unloaded)} model(s).")
    else:
        click.echo("No such model(s) running." if models or engine else "No models are running.")


def _push(app: App, references: tuple[str, ...], form: PushForm) -> None:
    from dmrc.cli.models.push import push_model

    for reference in references:
        push_model(app, reference, form)
        click.echo("Model pushed successfully")


def _show(app: App, remote: bool, reference: str) -> None:
    from datetime import UTC, datetime

    from dmrc.cli.models.show import print_metadata
    from dmrc.gguf import format_size
    from dmrc.models.description import trained_context

    model = app.model(reference, remote=remote)
    config = model.config
    click.echo(f"Model:       {model.digest}")
    click.echo(f"Tags:        {', '.join(model.tags) or '<none>'}")
    created = model.created or (datetime.fromtimestamp(model.pulled_at, UTC) if model.pulled_at else None)
    click.echo(f"Created:     {created.strftime('%Y-%m-%dT%H:%M:%SZ') if created else '-'}\n")
    facts = {
        "Format:": config.format,
        "Architecture:": config.architecture,
        "Parameters:": config.parameters,
        "Size:": format_size(model.size_bytes),
        "Quantization:": config.quantization,
        "Context Size:": config.context_size or trained_context(model),
    }
    for name, value in facts.items():
        click.echo(f"{name:14}{value or '-'}")
    print_metadata(model)


status = _worded(dmrc_status, _status)
version = _worded(dmrc_version, _version)
ps = _worded(dmrc_ps, _ps)
push = _worded(dmrc_push, _push)
show = _worded(dmrc_show, _show)
