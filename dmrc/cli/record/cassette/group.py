"""`dmrc cassette`: what services asked and were answered, in files that are replayed without a model."""

from __future__ import annotations

import click

from dmrc.cli.record.cassette.check import check
from dmrc.cli.record.cassette.diff import diff
from dmrc.cli.record.cassette.edit import edit
from dmrc.cli.record.cassette.from_requests import from_requests
from dmrc.cli.record.cassette.list import list_
from dmrc.cli.record.cassette.prune import prune
from dmrc.cli.record.cassette.show import show

_EPILOG = "Example: dmrc cassette show api:14; and to replay what it shows: dmrc up --replay"


@click.group(epilog=_EPILOG)
def cassette() -> None:
    """See, check and change recorded answers: one file for each service, one line for each request with its answer.

    They are made by dmrc up --record, dmrc exec --record, or out of the record by dmrc cassette from-requests. Where a
    command takes SERVICE, the path of a file does as well; :LINE after it is one of its lines, as in api:14.
    """


for command in (list_, show, edit, check, diff, prune, from_requests):
    cassette.add_command(command)
