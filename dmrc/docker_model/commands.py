"""The commands of `docker model` that dmrc has not, or that Compose calls by contract; all others are dmrc's own."""

from __future__ import annotations

import click

from dmrc import hookimpl
from dmrc.cli.group import CommandGroup, LazyCommand

_COMMANDS = {
    "list": LazyCommand("dmrc.docker_model.compose:list_", "List the models in the store", "Models"),
    "ls": LazyCommand("dmrc.docker_model.compose:list_", "", "Models"),
    "pull": LazyCommand("dmrc.docker_model.compose:pull", "Pull a model from a registry", "Models"),
    "configure": LazyCommand("dmrc.docker_model.compose:configure", "", "Models"),
    "status": LazyCommand("dmrc.docker_model.compose:status", "Tell whether the daemon runs, and where", "Watching"),
}


@hookimpl
def dmrc_register_commands(cli: click.Group) -> None:
    """Put them over dmrc's."""
    if isinstance(cli, CommandGroup):
        for name, command in _COMMANDS.items():
            cli.add_lazy(name, command)
