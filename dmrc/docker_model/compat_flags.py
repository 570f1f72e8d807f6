"""dmrc's own commands, with the further flags that they have in Docker Model Runner.

A flag that cannot change anything here is taken, and its help says why; one whose wish cannot be fulfilled is refused
with what to do instead. Nothing that a script asks for is dropped without a word.
Source: https://docs.docker.com/reference/cli/docker/model/
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.models.package import package as dmrc_package
from dmrc.cli.models.rm import rm as dmrc_rm
from dmrc.cli.record.logs import logs as dmrc_logs
from dmrc.cli.serving.configure import configure as dmrc_configure
from dmrc.cli.serving.run import run as dmrc_run
from dmrc.docker_model.pflag import TakesBoolean

_Command = TypeVar("_Command", bound=click.Command)


def unused(*names: str, why: str, takes_value: bool = False) -> click.Option:
    """Return an option that has no effect here, which its help says."""
    value: dict[str, Any] = {"metavar": "VALUE"} if takes_value else {"is_flag": True}
    return click.Option(names, expose_value=False, help=f"Without effect here: {why}.", **value)


def refused(*names: str, remedy: str, takes_value: bool = True) -> click.Option:
    """Return a hidden option that is an error with this remedy when it is given."""

    def refuse(_context: click.Context, _option: click.Parameter, value: object) -> None:
        from dmrc.errors import InputError

        if value:
            raise InputError(f"{names[-1]} cannot be used here", remedy=remedy)

    return click.Option(names, is_flag=not takes_value, expose_value=False, hidden=True, callback=refuse)


def with_options(command: _Command, *options: click.Option) -> _Command:
    """Return the same command with more options, or with others of the same names."""
    adapted = copy.copy(command)
    names = {option.name for option in options}
    adapted.params = [*(param for param in command.params if param.name not in names), *options]
    return adapted


def _if_positive(_context: click.Context, _option: click.Parameter, number: int | None) -> int | None:
    """Return a number, or None where it says that the default is wanted: 0, or below."""
    return number if number is not None and number > 0 else None


def replaced(command: _Command, does: Callable[..., object]) -> _Command:
    """Return the same command, which calls `does` with the app and its arguments."""
    adapted = copy.copy(command)
    adapted.callback = pass_app(does)
    return adapted


def _rm(app: App, references: tuple[str, ...], force: bool, as_json: bool) -> None:
    from dmrc.cli.models.rm import remove_models

    remove_models(app, references, force=force, even_running=True, as_json=as_json)


logs = with_options(dmrc_logs, unused("--no-engines", why="an engine's log is its own, see logs MODEL"))
run = with_options(
    dmrc_run,
    unused("--debug", why="see --verbose, and docker model logs"),
    click.Option(
        ["--color"],
        type=click.Choice(["auto", "yes", "no"]),
        expose_value=False,
        help="Without effect here: answers are printed as the model gives them.",
    ),
    refused("--websearch", remedy="Put what the model should know into the prompt: @FILE", takes_value=False),
)
package = with_options(
    dmrc_package,
    click.Option(
        ["--context-size"],
        type=click.IntRange(min=0),
        callback=_if_positive,
        metavar="TOKENS",
        help="Tokens per request, where a project says nothing; 0 is not to say it.",
    ),
    refused("--dduf", remedy="llama.cpp makes no images; use --gguf"),
)


rm = replaced(dmrc_rm, _rm)
rm.help = "Remove models from the store: the tag named, and the files when no tag is left. One that runs is unloaded."


def _set(app: App, model: str, project: str | None, flags: tuple[str, ...], **options: object) -> None:
    from dmrc.cli.serving.configure import options_of, put

    put(app, model, project, options_of(flags, options), replace=True)


def _show(app: App, model: str | None, as_json: bool) -> None:
    import json

    from dmrc.cli.serving.configure import entries
    from dmrc.errors import ModelNotFoundError

    del as_json  # it always is
    try:
        found = entries(app, model)
    except ModelNotFoundError:
        found = []
    click.echo(json.dumps(found, indent=2))


def _configure() -> click.Group:
    """Return `configure` as Docker Model Runner has it: it replaces what was set, and `show` prints JSON."""
    adapted = copy.copy(dmrc_configure)
    adapted.no_args_is_help = False
    set_, show = replaced(dmrc_configure.commands["set"], _set), replaced(dmrc_configure.commands["show"], _show)
    set_.help = (
        "Set how a model is served, in place of all that was set for it before; with nothing but MODEL, forget that. "
        "MODEL need not be there yet. FLAGS are those of the engine."
    )
    options = (
        click.Option(
            ["--context-size"],
            type=int,
            callback=_if_positive,
            metavar="TOKENS",
            help="Tokens of a request; 0 is the default.",
        ),
        click.Option(
            ["--mode"],
            type=click.Choice(["completion", "embedding", "reranking"], case_sensitive=False),
            help="What it is loaded for.",
        ),
        TakesBoolean(["--think/--no-think"], default=None, help="Whether it may think before it answers."),
        click.Option(["--speculative-draft-model", "draft"], metavar="MODEL", help="Smaller model that guesses ahead."),
        click.Option(
            ["--speculative-num-tokens", "draft_tokens"],
            type=int,
            callback=_if_positive,
            metavar="N",
            help="Most tokens it guesses.",
        ),
        click.Option(
            ["--speculative-min-acceptance-rate", "draft_acceptance"],
            type=click.FloatRange(0, 1),
            metavar="RATE",
            help="How sure it must be of a token.",
        ),
    )
    as_json = click.Option(["--json", "as_json"], is_flag=True, default=True, help="Print JSON, as it always does.")
    adapted.commands = {
        **dmrc_configure.commands,
        "set": with_options(set_, *options),
        "show": with_options(show, as_json),
    }
    return adapted


configure = _configure()
