"""`dmrc key`: keys for what is not a compose service."""

from __future__ import annotations

import click

from dmrc.cli.serving.key.create import create
from dmrc.cli.serving.key.list import list_
from dmrc.cli.serving.key.revoke import revoke


@click.group(epilog="Example: dmrc key create --name notebook --model ai/smollm2")
def key() -> None:
    """Create, list and revoke keys for what is not a compose service.

    An assistant, a container that Compose did not start, a script on another network: whoever has a key may ask the
    models that it opens, through Docker's bridge too.
    """


for command in (create, list_, revoke):
    key.add_command(command)
