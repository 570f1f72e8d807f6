"""The commands of `docker model` that are not dmrc's own, and those that Compose calls by contract."""

from __future__ import annotations

import click

from dmrc import hookimpl
from dmrc.cli.group import CommandGroup, LazyCommand
from dmrc.docker_model.compose import compose_project

_COMMANDS = {
    "list": LazyCommand("dmrc.docker_model.compose:list_", "List the models in the store", "Models"),
    "ls": LazyCommand("dmrc.docker_model.compose:list_", "", "Models"),
    "pull": LazyCommand("dmrc.docker_model.compose:pull", "Pull a model from a registry", "Models"),
}
_FOR_COMPOSE = {
    "configure": LazyCommand("dmrc.docker_model.compose:configure", "", "Models"),
    "status": LazyCommand("dmrc.docker_model.compose:status", "", "Watching"),
}
"""What Compose calls for one project, and a person for none: a person gets dmrc's own."""


@hookimpl
def dmrc_register_commands(cli: click.Group) -> None:
    """Put them over dmrc's."""
    if isinstance(cli, CommandGroup):
        for name, command in {**_COMMANDS, **(_FOR_COMPOSE if compose_project() else {})}.items():
            cli.add_lazy(name, command)
