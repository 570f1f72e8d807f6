"""`docker model requests`: the record in Docker Model Runner's own shape, which `dmrc requests` has more of."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name

_SILENT_SECONDS = 40.0
"""The daemon sends a sign of life every 15 s."""


@click.command(epilog="Example: docker model requests --model ai/smollm2 | jq '.[].records[].request'")
@click.option("--model", type=model_name, help="Only of this model.")
@click.option("-f", "--follow", is_flag=True, help="Print a line of JSON for each request that completes.")
@click.option("--include-existing", is_flag=True, help="With --follow: those on record first.")
@json_option
@pass_app
def requests(app: App, model: str | None, follow: bool, include_existing: bool, as_json: bool) -> None:
    """Print the last ten requests of each model as JSON. For people there is: dmrc requests."""
    import json

    from dmrc.capture.queries import ExchangeFilter
    from dmrc.gateway.routes.requests import past_groups

    del as_json  # it always is
    if include_existing and not follow:
        raise click.UsageError("--include-existing can only be used with --follow")
    if follow:
        _follow(app, model, include_existing=include_existing)
        return
    click.echo(json.dumps(past_groups(app.record, ExchangeFilter(model=model)), indent=2, ensure_ascii=False))


def _follow(app: App, model: str | None, *, include_existing: bool) -> None:
    """Print the data of each event of the gateway's stream, until it ends or Ctrl+C.

    Raises:
        DaemonError: It refuses, or has ended without a word.
    """
    import http.client
    from urllib.parse import urlencode

    from dmrc.cli.progress import note
    from dmrc.errors import DaemonError

    query = {**({"model": model} if model else {}), **({"include_existing": "true"} if include_existing else {})}
    app.daemon.ensure()
    connection = http.client.HTTPConnection("127.0.0.1", app.settings.port, timeout=_SILENT_SECONDS)
    try:
        connection.request("GET", f"/engines/requests?{urlencode(query)}", headers={"accept": "text/event-stream"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise DaemonError(f"the record cannot be followed: the gateway answers {answer.status}")
        note("Connected to request stream. Press Ctrl+C to stop.")
        for line in answer:
            if line.startswith((b"data: [", b'data: {"error"')):
                click.echo(line[6:].decode().rstrip())
    except (OSError, http.client.HTTPException) as error:
        raise DaemonError("the daemon does not answer any more", remedy="Start it: dmrc serve") from error
    finally:
        connection.close()
    note("Stream closed by server.")
