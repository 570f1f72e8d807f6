"""Commands that print the same facts as dmrc's own, in Docker Model Runner's words; `--json` is dmrc's.

Source: https://github.com/docker/model-runner/tree/main/cmd/cli/commands
"""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.client import Document
from dmrc.cli.options import json_option, model_name

_ORDER = ("Running", "Error", "Not Installed", "Installing")


@click.command(epilog="Example: docker model status --json")
@json_option
@click.pass_context
def status(context: click.Context, as_json: bool) -> int:
    """Tell whether the daemon runs, and which engines it has. Exits with 1 when it does not run."""
    from dmrc.cli.status import status as dmrc_status
    from dmrc.cli.status import status_document
    from dmrc.cli.tables import print_table

    if as_json:
        return int(context.invoke(dmrc_status, as_json=True))
    document = status_document(context.ensure_object(App))
    if not document["running"]:
        click.echo("Docker Model Runner is not running\n\nIt starts by itself: docker model run MODEL")
        return 1
    click.echo("Docker Model Runner is running\n")
    backends = document["backends"]
    states = backends.items() if isinstance(backends, dict) else ()
    rows = [[name, *str(state).split(": ", 1)] for name, state in states]
    print_table(("BACKEND", "STATUS", "DETAILS"), sorted(rows, key=lambda row: (_ORDER.index(row[1]), row[0])))
    return 0


@click.command(epilog="Example: docker model version --json")
@json_option
@click.pass_context
def version(context: click.Context, as_json: bool) -> None:
    """Print the versions of dmrc and of its daemon."""
    import platform

    from dmrc import __version__
    from dmrc.cli.status import status_document
    from dmrc.cli.version import version as dmrc_version

    if as_json:
        context.invoke(dmrc_version, as_json=True)
        return
    machine = platform.machine().lower()
    processor = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    document = status_document(context.ensure_object(App))
    server = document["version"] if document["running"] else "(not reachable)"
    click.echo(f"Client:\n Version:    {__version__}\n OS/Arch:    {platform.system().lower()}/{processor}\n")
    click.echo(f"Server:\n Version:    {server}\n Engine:     {document['kind']}")


@click.command(epilog="Example: docker model ps")
@json_option
@click.pass_context
def ps(context: click.Context, as_json: bool) -> None:
    """List the models that run. More is told by --json."""
    from dmrc.cli.ps import ps as dmrc_ps
    from dmrc.cli.tables import print_table
    from dmrc.reference import Reference

    if as_json:
        context.invoke(dmrc_ps, as_json=True)
        return
    rows = []
    for runner in context.ensure_object(App).daemon.runners():
        model = str(runner["model"])
        name = model if runner["upstream"] else Reference.parse(model).display().removesuffix(":latest")
        rows.append([name, str(runner["engine"]), str(runner["mode"]), _until(runner)])
    print_table(("MODEL NAME", "BACKEND", "MODE", "UNTIL"), rows)


def _until(runner: Document) -> str:
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
def unload(context: click.Context, models: tuple[str, ...], everything: bool, engine: str | None, as_json: bool) -> int:
    """Unload models from memory, each when it has finished what it does. They stay in the store."""
    import json

    from dmrc.cli.unload import unload_models
    from dmrc.errors import NotFoundError

    unloaded = unload_models(context.ensure_object(App), models, everything=everything, engine=engine)
    none_of_those = bool(models) and not unloaded
    if as_json:
        click.echo(json.dumps({"unloaded": unloaded}))
    elif unloaded:
        click.echo(f"Unloaded {len(unloaded)} model(s).")
    else:
        click.echo("No such model(s) running." if models or engine else "No models are running.")
    return NotFoundError.exit_code if none_of_those else 0


@click.command(epilog="Example: docker model push registry.example.com/me/smollm2:Q4_1")
@click.argument("references", nargs=-1, required=True, type=model_name, metavar="MODEL...")
@json_option
@click.pass_context
def push(context: click.Context, references: tuple[str, ...], as_json: bool) -> None:
    """Push models to the registries that their names begin with. What a registry has is not sent again.

    Log in with Docker's own command: docker login registry.example.com
    """
    from dmrc.cli.push import push as dmrc_push
    from dmrc.cli.push import push_model

    if as_json:
        context.invoke(dmrc_push, references=references, as_json=True)
        return
    for reference in references:
        push_model(context.ensure_object(App), reference)
        click.echo("Model pushed successfully")


@click.command(epilog="Example: docker model show ai/smollm2")
@json_option
@click.argument("reference", type=model_name, metavar="MODEL")
@pass_app
@click.pass_context
def show(context: click.Context, app: App, reference: str, as_json: bool) -> None:
    """Print what is known of a model, and the header of its GGUF file. More is told by --json."""
    from dmrc.cli.show import print_metadata
    from dmrc.cli.show import show as dmrc_show
    from dmrc.gguf import format_size
    from dmrc.models import with_facts
    from dmrc.models.description import trained_context

    if as_json:
        context.invoke(dmrc_show, reference=reference, as_json=True)
        return
    model = with_facts(app.store, app.store.resolve(reference, app.settings.default_registry))
    config = model.config
    click.echo(f"Model:       {model.digest}")
    click.echo(f"Tags:        {', '.join(model.tags) or '<none>'}")
    click.echo(f"Created:     {model.created.isoformat() if model.created else '-'}\n")
    facts = {
        "Format:": config.format,
        "Architecture:": config.architecture,
        "Parameters:": config.parameters,
        "Size:": config.size or format_size(model.size_bytes),
        "Quantization:": config.quantization,
        "Context Size:": config.context_size or trained_context(model),
    }
    for name, value in facts.items():
        click.echo(f"{name:14}{value or '-'}")
    print_metadata(model)
