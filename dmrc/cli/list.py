"""`dmrc list`: the store."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option

_HEADERS = ("MODEL NAME", "PARAMETERS", "QUANTIZATION", "ARCHITECTURE", "MODEL ID", "CREATED", "CONTEXT", "SIZE")


@click.command("list", epilog="Example: dmrc list -q | xargs dmrc rm -f")
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print IDs only.")
@click.argument("reference", required=False)
@pass_app
def list_(app: App, as_json: bool, quiet: bool, reference: str | None) -> None:
    """List the models in the store, or with REFERENCE only that one."""
    import json

    from dmrc.cli.tables import print_table
    from dmrc.models import describe

    known = app.settings.default_registry
    models = app.store.models() if reference is None else [app.store.resolve(reference, known)]
    if as_json:
        click.echo(json.dumps([describe(model) for model in models], indent=4))
    elif quiet:
        for model in models:
            click.echo(model.digest[7:19])
    else:
        print_table(_HEADERS, sorted(row for model in models for row in _rows(model)))


def _rows(model: object) -> list[list[str]]:
    """Return one row for each tag."""
    from dmrc.cli.tables import ago
    from dmrc.gguf import format_size
    from dmrc.reference import Reference
    from dmrc.store import StoredModel

    if not isinstance(model, StoredModel):
        return []
    names = [Reference.parse(tag).display() for tag in model.tags] or ["<none>"]
    config = model.config
    facts = [
        config.parameters or "-",
        config.quantization or "-",
        config.architecture or "-",
        model.digest[7:19],
        ago(model.created.timestamp() if model.created else model.pulled_at),
        str(config.context_size or "-"),
        config.size or format_size(model.size_bytes),
    ]
    return [[name, *facts] for name in names]
