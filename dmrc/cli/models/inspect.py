"""`dmrc inspect`: all facts of models, for programs."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import model_name, remote_option


@click.command(epilog="Example: dmrc inspect ai/smollm2 | jq .config.size")
@click.option("--json", is_flag=True, expose_value=False, help="Print JSON, as it always does.")
@click.option("--openai", is_flag=True, help="Print JSON as GET /v1/models has it.")
@remote_option
@click.argument("references", nargs=-1, required=True, type=model_name, metavar="MODEL...")
@pass_app
def inspect(app: App, openai: bool, remote: bool, references: tuple[str, ...]) -> None:
    """Print all facts of a model as a JSON object, or of several as an array."""
    import json

    from dmrc.models import describe, describe_for_openai

    documents = []
    for reference in references:
        model = app.model(reference, remote=remote)
        if openai:
            named = describe_for_openai(model)
            full = _full(reference, app.settings.default_registry)
            documents.append(next((document for document in named if document["id"] == full), named[0]))
        else:
            documents.append(describe(model))
    click.echo(json.dumps(documents if len(documents) > 1 else documents[0], indent=4))


def _full(reference: str, default_registry: str) -> str | None:
    """Return the full form of the name under which a model was asked for; None for an ID."""
    from dmrc.reference import Reference, model_id

    return None if model_id(reference) else str(Reference.parse(reference, default_registry=default_registry))
