"""What a shell offers at `docker model run ai/<TAB>`: Docker's completion asks its plugins in cobra's words.

Source: https://github.com/spf13/cobra/blob/main/completions.go (`ShellCompRequestCmd`, `ShellCompDirective`)
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import click
from click.shell_completion import ShellComplete

from dmrc.cli.app import App
from dmrc.cli.main import create_cli
from dmrc.docker_model import commands
from dmrc.errors import DmrcError
from dmrc.hooks.plugins import Plugins
from dmrc.settings import Settings

_ERROR, _FILES, _NO_FILES = 1, 0, 4


def complete(words: Sequence[str], *, described: bool) -> None:
    """Print what may stand in place of the last of these words, a line each, and what the shell does beside it.

    Shape: `run<TAB>Ask a model`, or `run` where it need not be `described`; then `:4`.
    """
    try:
        settings = Settings.from_environment(os.environ)
        plugins = Plugins(settings.plugins)
        shell = ShellComplete(create_cli(plugins, commands), {"obj": App(settings, plugins)}, "docker model", "")
        items = shell.get_completions(list(words[:-1]), words[-1] if words else "")
    except (DmrcError, click.UsageError):
        click.echo(f":{_ERROR}")
        return
    offered = [item for item in items if item.type == "plain"]
    for item in offered:
        click.echo(f"{item.value}\t{item.help}" if described and item.help else item.value)
    click.echo(f":{_NO_FILES if len(offered) == len(items) else _FILES}")
