"""`dmrc tag`: one more name for a model."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name


@click.command(epilog="Example: dmrc tag ai/smollm2 registry.example.com/me/smollm2:v1")
@json_option
@click.argument("source", type=model_name)
@click.argument("target")
@pass_app
def tag(app: App, source: str, target: str, as_json: bool) -> None:
    """Give the model SOURCE the name TARGET too; another model that had it loses it."""
    import json

    from dmrc.reference import Reference

    known = app.settings.default_registry
    reference = Reference.parse(target, default_registry=known)
    model = app.store.tag(app.present(source), reference)
    if as_json:
        click.echo(json.dumps({"digest": model.digest, "source": source, "target": str(reference)}, indent=2))
    else:
        click.echo(f'Model "{source}" tagged successfully with "{target}"')
