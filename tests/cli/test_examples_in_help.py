"""Every command of both doors, commands below commands too, shows how it is typed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dmrc.cli.app import App
from dmrc.cli.main import create_cli
from dmrc.docker_model import commands
from dmrc.hooks.plugins import Plugins
from dmrc.settings import Settings

_NOT_HERE = {f"docker model {name}" for name in ("gateway", "skills", "context create", "context rm")}
"""Commands that only say what there is in their place."""


def commands_of(group: click.Group, context: click.Context, path: str) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands_of(command, context, f"{path} {name}")


@pytest.mark.parametrize("door", ["dmrc", "docker model"])
def test_every_command_has_an_example(tmp_path: Path, door: str) -> None:
    settings = Settings.from_environment({"DMRC_HOME": str(tmp_path)})
    plugins = Plugins(())
    cli = create_cli(plugins, commands if door == "docker model" else None)
    context = click.Context(cli, obj=App(settings, plugins))

    without = {path for path, command in commands_of(cli, context, door) if "Example: " not in (command.epilog or "")}

    assert without <= _NOT_HERE
