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

    unloaded = unload_models(app, models, everything=everything, engine=engine)
    if models and not unloaded:
        raise NotFoundError(f"no such model runs: {', '.join(models)}", remedy="See: dmrc ps")
    if as_json:
        click.echo(json.dumps({"unloaded": unloaded}))
    else:
        click.echo(f"Unloaded {len(unloaded)} model(s).")


def unload_models(app: App, models: Sequence[str], *, everything: bool, engine: str | None) -> list[str]:
    """Unload models, or all of them, or all of one engine; return the names of those that ran."""
    import json

    everything = everything or (engine is not None and not models)
    if not models and not everything:
        raise click.UsageError("name a model, or say --all")
    if app.daemon.status() is None:
        return []
    body = json.dumps({"models": list(models), "all": everything, "engine": engine})
    answer = app.daemon.request("POST", "/unload", body)
    found = answer["unloaded"] if isinstance(answer, dict) else []
    return [str(name) for name in found] if isinstance(found, list) else []
