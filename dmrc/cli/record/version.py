"""`dmrc version`."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option


@click.command(epilog="Example: dmrc version --json")
@json_option
@pass_app
def version(app: App, as_json: bool) -> None:
    """Print the versions of dmrc, of its daemon where it runs, and of its engines."""
    import json

    from dmrc import __version__

    found = app.daemon.status()
    engines = {name: engine.describe() for name, engine in app.engines.items()}
    if as_json:
        daemon = found["version"] if found else None
        click.echo(json.dumps({"dmrc": __version__, "daemon": daemon, "engines": engines}, indent=2))
        return
    click.echo(f"dmrc:    {__version__}")
    click.echo(f"daemon:  {found['version'] if found else 'does not run'}")
    for name, description in engines.items():
        click.echo(f"engine:  {name}: {description}")
