"""`--record`, `--replay` and `--replay-or-record`, which may name a directory, and `--replay-speed`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from dmrc.cli.projects.setup.replaying import ReplayWish
from dmrc.project.replay import ReplayMode

R = TypeVar("R")

_MODES: tuple[ReplayMode, ...] = get_args(ReplayMode)
_HELP: dict[ReplayMode, str] = {
    "record": "Write what services ask and models answer to cassettes: to the project's, or to those in DIR.",
    "replay": "Answer from cassettes; no model is pulled, loaded or asked.",
    "replay-or-record": "Answer from cassettes; models answer the rest, which is added.",
}


class ReplayCommand(click.Command):
    """A command whose options of a mode may stand alone: only what follows a `=` is their directory.

    click would take the next word for it, which is the name of a service: `dmrc up --replay web`.
    """

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Give those that stand alone an empty value, up to a `--`."""
        end = args.index("--") if "--" in args else len(args)
        alone = {f"--{mode}" for mode in _MODES}
        given = [f"{word}=" if word in alone else word for word in args[:end]]
        return super().parse_args(context, [*given, *args[end:]])


class _ModeOption(click.Option):
    """An option whose directory follows a `=`; its help writes it so, without a space that would be wrong."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        return None if record is None else (record[0].replace(" [=", "[="), record[1])


def replay_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add them to a `ReplayCommand`, which gets them as `replaying`."""

    @functools.wraps(command)
    def with_wish(*args: object, **given: Any) -> R:
        directories = {mode: given.pop(mode.replace("-", "_")) for mode in _MODES}
        return command(*args, replaying=_wish(directories, given.pop("replay_speed")), **given)

    wrapped: Callable[..., R] = with_wish
    speed = click.option(
        "--replay-speed",
        type=float,
        metavar="N",
        help="How fast recorded answers come: 1 as from the model, 2 twice as fast, 0 at once. [0]",
    )
    wrapped = speed(wrapped)
    for mode in reversed(_MODES):
        wrapped = click.option(f"--{mode}", cls=_ModeOption, metavar="[=DIR]", help=_HELP[mode])(wrapped)
    return wrapped


def _wish(directories: dict[ReplayMode, str | None], speed: float | None) -> ReplayWish:
    """Return what was said.

    Raises:
        click.UsageError: More than one mode, or no speed that there is.
    """
    given = [mode for mode, directory in directories.items() if directory is not None]
    if len(given) > 1:
        raise click.UsageError(f"--{given[0]} and --{given[1]} exclude one another: say one of them")
    if speed is not None and not 0 <= speed < float("inf"):
        raise click.UsageError(f"--replay-speed must be 0 or more, not {speed:g}")
    directory = directories[given[0]] if given else None
    return ReplayWish(given[0] if given else None, Path(directory) if directory else None, speed)
