"""`dmrc inspect`: all facts of models, for programs."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import model_name


@click.command(epilog="Example: dmrc inspect ai/smollm2 | jq .config.size")
@click.option("--openai", is_flag=True, help="Print JSON as GET /v1/models has it.")
@click.argument("references", nargs=-1, required=True, type=model_name, metavar="MODEL...")
@pass_app
def inspect(app: App, openai: bool, references: tuple[str, ...]) -> None:
    """Print all facts of a model as a JSON object, or of several as an array."""
    import json

    from dmrc.models import describe, describe_for_openai

    models = [app.store.resolve(reference, app.settings.default_registry) for reference in references]
    documents = [describe_for_openai(model)[0] if openai else describe(model) for model in models]
    click.echo(json.dumps(documents if len(documents) > 1 else documents[0], indent=4))
