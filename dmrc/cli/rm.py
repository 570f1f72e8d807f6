"""`dmrc rm`: models out of the store."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name


@click.command(epilog="Example: dmrc rm ai/smollm2:135M-Q4_K_M")
@click.argument("references", nargs=-1, required=True, type=model_name, metavar="MODEL...")
@click.option("-f", "--force", is_flag=True, help="Also when it runs, or when an ID has several tags.")
@json_option
@pass_app
def rm(app: App, references: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Remove models from the store: the tag named, and the files when no tag is left."""
    import json

    from dmrc.errors import StoreError

    rows = []
    for reference in references:
        model = app.store.resolve(reference, app.settings.default_registry)
        running = [runner for runner in app.daemon.runners() if runner["digest"] == model.digest]
        if running and len(model.tags) <= 1:
            if not force:
                raise StoreError(f"model '{reference}' runs", remedy=f"Run: dmrc unload {reference}, or use --force")
            app.daemon.request("POST", "/unload", json.dumps({"models": [reference]}))
        removed = app.store.remove(reference, force=force, default_registry=app.settings.default_registry)
        rows += [{"Untagged": tag} for tag in removed.untagged] + [{"Deleted": digest} for digest in removed.deleted]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        for action, name in row.items():
            click.echo(f"{action}: {name}")
