"""`dmrc inspect`: one model."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app


@click.command(epilog="Example: dmrc inspect ai/smollm2 | jq .config.size")
@click.argument("reference")
@pass_app
def inspect(app: App, reference: str) -> None:
    """Print all facts of one model as JSON."""
    import json

    from dmrc.models import describe

    click.echo(json.dumps(describe(app.store.resolve(reference, app.settings.default_registry)), indent=4))
