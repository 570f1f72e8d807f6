"""`dmrc faults`: requests that fail on purpose."""

from __future__ import annotations

import click

from dmrc.cli.projects.faults.clear import clear
from dmrc.cli.projects.faults.list import list_
from dmrc.cli.projects.faults.set import set_


@click.group(epilog="Example: dmrc faults set api rate_limit=0.2,retry_after=2 cut=0.1,after=12 --seed 7")
def faults() -> None:
    """Let requests of a project that is up fail on purpose, to see what its services do then.

    A compose file may say the same: x-dmrc: {faults: …}. What a command says comes before it, until dmrc down.
    """


for command in (set_, list_, clear):
    faults.add_command(command)
