"""`dmrc requests`: the record of what was asked."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option


@click.command(epilog="Example: dmrc requests --project facts --json | jq '.[].first_token_ms'")
@click.option("--project", help="Only of this compose project.")
@click.option("--service", help="Only of this service.")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many.")
@json_option
@pass_app
def requests(app: App, project: str | None, service: str | None, limit: int, as_json: bool) -> None:
    """List the last requests, the newest at the end: who asked, which model, tokens, first token, speed."""
    import json

    from dmrc.capture.database import ExchangeDatabase, ExchangeFilter
    from dmrc.capture.summary import line, to_json
    from dmrc.cli.progress import note

    database = ExchangeDatabase(app.settings.paths.exchanges)
    page = database.page(ExchangeFilter(project=project, service=service), limit)[::-1]
    if as_json:
        click.echo(json.dumps([to_json(exchange, with_content=False) for exchange in page], indent=2))
        return
    if not page:
        note("no request was recorded yet")
    excerpts = database.excerpts(page)
    for exchange in page:
        click.echo(line(exchange, excerpts.get(exchange.id, "")))
