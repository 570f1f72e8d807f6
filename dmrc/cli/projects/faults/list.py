"""`dmrc faults list`: what is made on purpose now."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option


@click.command(
    "list",
    short_help="List who meets which faults.",
    epilog="Example: dmrc faults list --json | jq '.[].counts'",
)
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    """List which services of all projects meet which faults, who says so, and how many were made so far."""
    import json

    from dmrc.cli.projects.faults.running import planned
    from dmrc.cli.tables import print_table
    from dmrc.json_values import object_of

    rows = planned(app)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = []
    for row in rows:
        counts = [object_of(count) for count in object_of(row["counts"]).values()]
        asked = sum(int(str(count["requests"])) for count in counts)
        made = sum(int(str(number)) for count in counts for number in object_of(count["made"]).values())
        who = f"{row['project']}/{row['service'] or '*'}"
        table.append([who, str(row["origin"]), f"{made} of {asked} requests", str(row["plan"])])
    print_table(("SERVICE", "SAID BY", "MADE", "FAULTS"), table)
