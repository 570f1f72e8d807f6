"""`dmrc unload`: models out of memory."""

from __future__ import annotations

from collections.abc import Sequence

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name


@click.command(epilog="Example: dmrc unload ai/smollm2")
@click.argument("models", nargs=-1, type=model_name, metavar="[MODEL...]")
@click.option("--all", "everything", is_flag=True, help="Unload all models.")
@click.option("--engine", "--backend", "engine", metavar="NAME", help="Only those of this engine.")
@json_option
@pass_app
def unload(app: App, models: tuple[str, ...], everything: bool, engine: str | None, as_json: bool) -> None:
    """Unload models from memory, each when it has finished what it does. They stay in the store."""
    import json

    from dmrc.errors import NotFoundError

    unloaded, unknown = unload_models(app, models, everything=everything, engine=engine)
    if models and not unloaded and not unknown:
        raise NotFoundError(f"no such model runs: {', '.join(models)}", remedy="See: dmrc ps")
    if as_json:
        click.echo(json.dumps({"unloaded": unloaded}))
    elif unloaded or not models:
        click.echo(f"Unloaded {len(unloaded)} model(s).")
    for name in unknown:
        app.present(name)


def unload_models(
    app: App, models: Sequence[str], *, everything: bool, engine: str | None
) -> tuple[list[str], list[str]]:
    """Unload models, or all of them, or all of one engine.

    Return the names of those that ran, and which of `models` are neither running nor in the store.
    """
    import json

    everything = everything or (engine is not None and not models)
    if not models and not everything:
        raise click.UsageError("name a model, or say --all")
    if models and everything:
        raise click.UsageError("--all is every model: leave it out, or the names")
    if app.daemon.status() is None:
        return [], [name for name in models if not app.store.knows(name, app.settings.default_registry)]
    body = json.dumps({"models": list(models), "all": everything, "engine": engine})
    answer = app.daemon.request("POST", "/unload", body)
    lists = [answer.get(name) if isinstance(answer, dict) else None for name in ("unloaded", "unknown")]
    unloaded, unknown = ([str(name) for name in found] if isinstance(found, list) else [] for found in lists)
    return unloaded, unknown
