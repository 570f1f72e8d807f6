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
    """Remove files that no model in the store refers to: interrupted downloads, blobs of other programs.

    What another process is just writing stays, and so does what is younger than ten minutes.
    """
    import json

    from dmrc.cli.tables import size

    gone = app.store.prune(dry_run=dry_run)
    total = sum(each.size_bytes for each in gone)
    if as_json:
        files = [{"path": str(each.path), "size_bytes": each.size_bytes} for each in gone]
        click.echo(json.dumps({"removed": files, "size_bytes": total, "dry_run": dry_run}, indent=2))
        return
    for each in gone:
        click.echo(f"{each.path.name}  {size(each.size_bytes)}")
    click.echo(f"{'Would free' if dry_run else 'Freed'} {size(total)}", err=True)
