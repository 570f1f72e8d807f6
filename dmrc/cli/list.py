"""`dmrc list`: the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name

if TYPE_CHECKING:
    from dmrc.store import StoredModel

_HEADERS = ("MODEL NAME", "PARAMETERS", "QUANTIZATION", "ARCHITECTURE", "MODEL ID", "CREATED", "CONTEXT", "SIZE")


@click.command("list", epilog="Example: dmrc list 'ai/*' -q | xargs dmrc rm -f")
@json_option
@click.option("--openai", is_flag=True, help="Print JSON as GET /v1/models has it.")
@click.option("-q", "--quiet", is_flag=True, help="Print IDs only.")
@click.argument("pattern", required=False, type=model_name, metavar="[MODEL|PATTERN]")
@pass_app
def list_(app: App, as_json: bool, openai: bool, quiet: bool, pattern: str | None) -> None:
    """List the models in the store; with MODEL those of that name or ID, with a PATTERN ('*smol*') all that match."""
    import json

    from dmrc.cli.tables import print_table
    from dmrc.models import describe, describe_for_openai

    if quiet and openai:
        raise click.UsageError("--quiet and --openai do not go together")
    models = _chosen(app, pattern)
    if openai:
        data = [document for model in models for document in describe_for_openai(model)]
        click.echo(json.dumps({"object": "list", "data": data}, indent=4))
    elif as_json:
        click.echo(json.dumps([describe(model) for model in models], indent=4))
    elif quiet:
        for model in models:
            click.echo(model.digest[7:19])
    else:
        rows = sorted((row for model in models for row in _rows(model)), key=_order)
        print_table(_HEADERS, rows)


def _chosen(app: App, pattern: str | None) -> list[StoredModel]:
    """Return the models that are meant. A name must be in the store; a pattern may match nothing."""
    from fnmatch import fnmatchcase

    from dmrc.errors import DmrcError
    from dmrc.reference import DEFAULT_REGISTRY, Reference

    models = app.store.models()
    if pattern is None:
        return models
    names = {
        model.digest: [
            form
            for tag in model.tags
            for form in (tag, tag.removeprefix(f"{DEFAULT_REGISTRY}/"), Reference.parse(tag).display())
        ]
        for model in models
    }
    if any(sign in pattern for sign in "*?["):
        return [model for model in models if any(fnmatchcase(name, pattern) for name in names[model.digest])]
    try:
        return [app.store.resolve(pattern, app.settings.default_registry)]
    except DmrcError:
        # `dmrc list smollm2` means every tag of it where there is no `latest`.
        wanted = pattern.lower()
        tagged = {digest: {name.rpartition(":")[0] for name in known} for digest, known in names.items()}
        found = [model for model in models if wanted in tagged[model.digest]]
        if not found:
            raise
        return found


def _order(row: list[str]) -> tuple[str, str]:
    name, _, tag = row[0].partition(":")
    return name.lower(), tag


def _rows(model: StoredModel) -> list[list[str]]:
    """Return one row for each tag."""
    from dmrc.cli.tables import ago
    from dmrc.gguf import format_size
    from dmrc.models.description import trained_context
    from dmrc.reference import Reference

    names = [Reference.parse(tag).display() for tag in model.tags] or ["<none>"]
    config = model.config
    facts = [
        config.parameters or "-",
        config.quantization or "-",
        config.architecture or "-",
        model.digest[7:19],
        ago(model.created.timestamp() if model.created else model.pulled_at),
        str(config.context_size or trained_context(model) or "-"),
        config.size or format_size(model.size_bytes),
    ]
    return [[name, *facts] for name in names]
