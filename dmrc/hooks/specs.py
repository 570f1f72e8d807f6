"""The contracts of all hooks: when each is called, with what, and what is guaranteed to follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from dmrc.engines.engine import Engine
    from dmrc.settings import Settings
    from dmrc.sources import Source

hookspec = pluggy.HookspecMarker("dmrc")


@hookspec
def dmrc_register_commands(cli: click.Group) -> None:
    """Add commands to the command line.

    Called once per process of the command line, before arguments are read, built-in plugins first: a plugin may
    replace a built-in command. Imports of a command belong inside it, or every `dmrc --help` pays for them.
    """


@hookspec
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:  # type: ignore[empty-body]
    """Return the kinds of engine that this plugin knows.

    Called once per process that checks or starts engines, before anything starts. Of two engines with the same name
    the one of the plugin that was loaded last is used, so a plugin may replace a built-in engine.
    """


@hookspec
def dmrc_register_sources(settings: Settings) -> Sequence[Source]:  # type: ignore[empty-body]
    """Return the places that models come from.

    Called once per process that pulls, before anything is pulled. The first source that accepts a reference is used,
    those of the plugin loaded last are asked first.
    """
