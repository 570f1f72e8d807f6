"""`dmrc prune`: what nothing in the store refers to."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option


@click.command(epilog="Example: dmrc prune --dry-run")
@click.option("--dry-run", is_flag=True, help="Remove nothing; print what would go.")
@json_option
@pass_app
def prune(app: App, dry_run: bool, as_json: bool) -> None:
    """Remove what no model in the store refers to: blobs, links, temporary files, damaged files that were set aside.

    What another process is just writing stays, and so does a blob that came within the last ten minutes.
    """
    import json

    from dmrc.cli.progress import note
    from dmrc.cli.tables import size

    pruned = app.store.prune(dry_run=dry_run)
    total = sum(each.size_bytes for each in pruned.removed)
    if as_json:
        files = [{"path": str(each.path), "size_bytes": each.size_bytes} for each in pruned.removed]
        document = {"removed": files, "size_bytes": total, "dry_run": dry_run, "left_because": pruned.left_because}
        click.echo(json.dumps(document, indent=2))
        return
    for each in pruned.removed:
        click.echo(f"{each.path.name}  {size(each.size_bytes)}")
    note(f"{'Would free' if dry_run else 'Freed'} {size(total)}")
    if pruned.left_because is not None:
        note(f"Blobs without a model were left alone: {pruned.left_because}")
