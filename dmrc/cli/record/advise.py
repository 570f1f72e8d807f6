"""`dmrc advise`: what could be faster, by what is on record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name

if TYPE_CHECKING:
    from dmrc.lens.service import ServiceLook


@click.command(epilog="Example: dmrc advise --project shop --service api")
@click.option("--project", help="Only of this compose project.")
@click.option("--service", help="Only of this service.")
@click.option("--model", type=model_name, help="Only of this model: its key, its name, or its full reference.")
@click.option("--since", metavar="TIME", help="Only since then: 10m, 2h, 7d, or 2026-01-31.")
@click.option("-n", "--last", type=click.IntRange(2, 2000), default=200, help="How many requests of a service. [200]")
@json_option
@pass_app
def advise(
    app: App,
    project: str | None,
    service: str | None,
    model: str | None,
    since: str | None,
    last: int,
    as_json: bool,
) -> None:
    """Tell which share of its prompts each service has computed again, and what in them keeps the cache from its work.

    Reads the last requests on record, and works without the daemon. Says nothing of a service whose cache worked.
    """
    import json

    from dmrc.capture.filters import read_filter
    from dmrc.lens.record import services

    query = read_filter({"project": project, "service": service, "model": model, "since": since}, "--")
    found = services(app.record, query, last)
    if as_json:
        click.echo(json.dumps({"prompt_cache": [one.to_json() for one in found]}, indent=2))
        return
    _print(found)


def _print(found: list[ServiceLook]) -> None:
    from dmrc.cli.progress import note
    from dmrc.cli.record.cache_lines import service_lines
    from dmrc.cli.record.requests.lines import Screen

    if not found:
        note("no request with a prompt is on record that matches")
        return
    screen, told = Screen.of_stdout(), [one for one in found if one.causes or one.unread is not None]
    for number, one in enumerate(told):
        if number:
            click.echo()
        for line in service_lines(one, screen):
            click.echo(line)
    if len(told) < len(found):
        count = len(found) - len(told)
        note(f"the prompt cache works for {count} {'other ' if told else ''}service{'s' if count > 1 else ''}")
