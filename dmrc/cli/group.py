"""A command group that imports a command only when it is called, so that `dmrc --help` stays fast."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is, and what the list of commands says of it."""

    target: str
    """`module:attribute`."""
    summary: str
    """One line."""
    section: str
    """Heading in the list."""


class CommandGroup(click.Group):
    """A group whose commands may be given by import string."""

    def __init__(self, name: str, *, help_text: str, examples: Sequence[tuple[str, str]] = ()) -> None:
        """Make an empty group. Its help shows `examples`: command lines, and what each does."""
        super().__init__(name, help=help_text, context_settings={"help_option_names": ["-h", "--help"]})
        self._examples = examples
        self._lazy: dict[str, LazyCommand] = {}
        self.adapt: Callable[[click.Command], click.Command] = lambda command: command
        """Makes of each command what this command line wants of it."""

    def add_lazy(self, name: str, command: LazyCommand) -> None:
        """Add a command that is imported when it is called."""
        self._lazy[name] = command

    def list_commands(self, context: click.Context) -> list[str]:
        """Return all names; those given as objects (by plugins) too."""
        return [*self._lazy, *(name for name in super().list_commands(context) if name not in self._lazy)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return a command, imported now; a command given as an object replaces a lazy one."""
        found = super().get_command(context, name)
        if found is None and name in self._lazy:
            module, _, attribute = self._lazy[name].target.partition(":")
            command = getattr(importlib.import_module(module), attribute)
            found = command if isinstance(command, click.Command) else None
        return None if found is None else self.adapt(found)

    def invoke(self, context: click.Context) -> object:
        """Run a command. Ctrl+C stays our business: click would print an empty line, even into a file."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt as error:
            raise click.Abort from error

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name near commands where there is no such command."""
        name = args[0]
        wanted = not context.resilient_parsing  # a shell that completes a line reads it as far as it goes
        if wanted and self.get_command(context, name) is None and not name.startswith("-"):
            from dmrc.suggestions import did_you_mean

            raise click.UsageError(
                f"no such command '{name}'{did_you_mean(name, self.list_commands(context))}", context
            )
        return super().resolve_command(context, args)

    def format_help_text(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what it is, and the examples."""
        super().format_help_text(context, formatter)
        if self._examples:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_dl(self._examples)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, lazy in self._lazy.items():
            if lazy.summary:
                sections.setdefault(lazy.section, []).append((name, lazy.summary))
        for name in super().list_commands(context):
            command = super().get_command(context, name)
            if command is not None and not command.hidden:
                sections.setdefault("Plugins", []).append((name, command.get_short_help_str(60)))
        widest = max((len(name) for rows in sections.values() for name, _ in rows), default=0)
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(widest), summary) for name, summary in rows])
