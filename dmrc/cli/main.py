"""The entry point `dmrc`: the group of commands, and the one place where errors become exit codes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

import click

from dmrc import __version__
from dmrc.cli.app import App
from dmrc.cli.group import CommandGroup
from dmrc.errors import DmrcError
from dmrc.hooks.plugins import Plugins
from dmrc.settings import Settings


class _Commands(Protocol):
    """A module with commands."""

    def dmrc_register_commands(self, cli: click.Group) -> None:
        """Add them; the hook of that name."""


_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""What is imported stays, and to look for garbage among it every 700 objects takes a twentieth of a command's time."""

_HELP = "docker compose up, with the language models of your compose file served beside it."
_EXAMPLES = (
    ("dmrc up", "pull, serve and inject the models, then docker compose up"),
    ('dmrc run ai/smollm2 "Hi"', "ask a model"),
    ("dmrc requests", "what your services asked, and how long it took"),
)


def create_cli(plugins: Plugins, commands: _Commands | None = None) -> CommandGroup:
    """Return the command group with the commands of all plugins, and those of the plugin `commands` over them."""
    cli = CommandGroup("dmrc", help_text=_HELP, examples=_EXAMPLES)
    version = click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_version,
        help="Print the version of dmrc and exit.",
    )
    cli.params.append(version)
    plugins.load("dmrc_register_commands")
    plugins.collect("dmrc_register_commands", cli=cli)
    if commands is not None:
        commands.dmrc_register_commands(cli)
    return cli


def _print_error(text: str) -> None:
    click.echo(text, err=True)


def main(
    argv: Sequence[str] | None = None,
    *,
    name: str = "dmrc",
    commands: _Commands | None = None,
    on_error: Callable[[str], None] = _print_error,
) -> None:
    """Run one command and exit with its code (docs/commands.md).

    Another command line has its own `name`, a plugin with `commands` over dmrc's, and shows errors by `on_error`.
    """
    if "_DMRC_COMPLETE" in os.environ:
        import dmrc.cli.completion  # noqa: F401 registers itself with click
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        settings = Settings.from_environment(os.environ)
        plugins = Plugins(settings.plugins)
        cli = create_cli(plugins, commands)
        words = sys.argv[1:] if argv is None else argv
        command = " ".join([name, *(word for word in words[:1] if not word.startswith("-"))])
        code = cli.main(args=argv, prog_name=name, standalone_mode=False, obj=App(settings, plugins, command))
    except DmrcError as error:
        for line in error.log_tail:
            click.echo(f"  {line}", err=True)
        on_error(f"dmrc: {error}")
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        after_the_sign = "\n" if sys.stderr.isatty() else ""  # a terminal shows `^C` where the cursor was
        click.echo(f"{after_the_sign}dmrc: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone (`dmrc list | head -1`); there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"dmrc {__version__}")
        context.exit()
