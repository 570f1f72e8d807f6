"""`dmrc ui`: the web page."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app


@click.command(epilog="Example: ssh -L 12434:127.0.0.1:12434 HOST, and there: dmrc ui --print")
@click.option("--print", "print_only", is_flag=True, help="Print the address, and open no browser.")
@pass_app
def ui(app: App, print_only: bool) -> None:
    """Open the web page: requests, models, projects and a playground. The address works once, within five minutes."""
    import webbrowser
    from typing import cast
    from urllib.parse import urlencode

    from dmrc.cli.progress import note
    from dmrc.fields import JsonObject

    app.daemon.ensure()
    opened = cast(JsonObject, app.daemon.request("POST", "/ui-token"))
    url = f"http://127.0.0.1:{app.settings.port}{opened['path']}?{urlencode({'token': opened['token']})}"
    click.echo(url)
    if not print_only and not webbrowser.open(url):
        note("No browser could be opened: open this address in one, on this machine")
