"""`dmrc requests`: the record of what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dmrc.cli.app import App
from dmrc.cli.options import json_option
from dmrc.cli.record.requests.export import export
from dmrc.cli.record.requests.filters import chosen, filter_options
from dmrc.cli.record.requests.rm import rm
from dmrc.cli.record.requests.show import show

if TYPE_CHECKING:
    from dmrc.capture.queries import ExchangeFilter


_EPILOG = "Example: dmrc requests --project facts --since 10m --errors"


@click.group("requests", invoke_without_command=True, epilog=_EPILOG)
@filter_options
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), help="How many. [50; with --follow 10]")
@click.option("-f", "--follow", is_flag=True, help="Show requests as they start and complete, until Ctrl+C.")
@json_option
@click.pass_context
def requests(context: click.Context, /, limit: int | None, follow: bool, as_json: bool, **given: Any) -> None:
    """List the last requests, the newest at the end: who asked, which model, tokens, first token, speed.

    Works without the daemon. --json prints an array; with --follow a line of JSON for each request that completes.
    """
    if context.invoked_subcommand is not None:
        return
    app = context.find_object(App)
    assert app is not None  # noqa: S101 main() passes it

    query = chosen(app, given)
    if follow:
        from dmrc.cli.record.requests.follow import follow_requests

        follow_requests(app, query, limit or 10, as_json=as_json)
        return
    _list(app, query, limit or 50, as_json=as_json)


for command in (show, export, rm):
    requests.add_command(command)


def _list(app: App, query: ExchangeFilter, limit: int, *, as_json: bool) -> None:
    import json

    from dmrc.capture.summary import to_json
    from dmrc.cli.progress import note
    from dmrc.cli.record.requests.lines import Screen, lines

    database = app.record
    page = database.page(query, limit)[::-1]
    if as_json:
        click.echo(json.dumps([to_json(exchange, with_content=False) for exchange in page], indent=2))
        return
    if not page:
        note("no request was recorded that matches" if database.count() else "no request was recorded yet")
    for line in lines(page, database.excerpts(page), Screen.of_stdout()):
        click.echo(line)
