"""`dmrc engine`: which build of llama.cpp serves the models."""

from __future__ import annotations

import click

from dmrc.cli.serving.engine.install import install
from dmrc.cli.serving.engine.list import list_
from dmrc.cli.serving.engine.remove import remove
from dmrc.cli.serving.engine.use import use


@click.group(epilog="Example: dmrc engine install")
def engine() -> None:
    """See, fetch and choose the build of llama.cpp that serves the models: for the processor, or for a graphics card.

    DMRC_LLAMA_SERVER goes before what is chosen here. Where nothing is chosen, a llama-server on PATH is used, and
    where there is none, xllamacpp, which came with dmrc and is for processors.
    """


for command in (list_, install, use, remove):
    engine.add_command(command)
