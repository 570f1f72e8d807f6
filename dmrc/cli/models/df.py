"""`dmrc df`: what takes how much of the disk."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option


@click.command(epilog="Example: dmrc df --json | jq .models_disk_usage")
@json_option
@pass_app
def df(app: App, as_json: bool) -> None:
    """Print what models, the engine and the records take of the disk. Files that several models share count once."""
    import json

    from dmrc.cli.tables import print_table, size
    from dmrc.project import DEFAULT_ENGINE

    usage = app.store.usage()
    paths = app.settings.paths
    rows = {
        "models_disk_usage": ("Models", usage.models_bytes),
        "default_backend_disk_usage": ("Inference engine", app.engines[DEFAULT_ENGINE].disk_bytes()),
        "unused_disk_usage": ("Unused, see dmrc prune", usage.unused_bytes),
        "requests_disk_usage": ("Requests", sum(_bytes(path) for path in paths.home.glob("exchanges.sqlite3*"))),
        "logs_disk_usage": ("Logs", sum(_bytes(path) for path in paths.logs.glob("*"))),
    }
    if as_json:
        click.echo(json.dumps({key: count for key, (_, count) in rows.items()}, indent=2))
    else:
        print_table(("TYPE", "SIZE"), [[name, size(count)] for name, count in rows.values()])


def _bytes(path: object) -> int:
    from pathlib import Path

    try:
        return Path(str(path)).stat().st_size
    except OSError:
        return 0  # it went while we counted
