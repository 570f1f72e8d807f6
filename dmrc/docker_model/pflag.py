"""The command line as Go's pflag reads it, in the words of click: what scripts write for Docker Model Runner.

Source: https://github.com/spf13/pflag/blob/master/flag.go (`parseLongArg`, `parseSingleShortArg`) and
https://pkg.go.dev/strconv#ParseBool
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence
from typing import TypeVar, cast

import click

_Command = TypeVar("_Command", bound=click.Command)
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class TakesBoolean(click.Option):
    """A flag whose value may stand behind it as a word of its own: `--think true`."""


def go_spelled(command: _Command) -> _Command:
    """Return the same command, with the same commands below it, which takes flags in Go's spelling too."""
    mixin = _SpelledGroup if isinstance(command, click.Group) else _Spelled
    adapted = copy.copy(command)
    adapted.__class__ = cast("type[_Command]", type(type(command).__name__, (mixin, type(command)), {}))
    return adapted


def takes_surplus_words(command: _Command) -> _Command:
    """Return the same command, which ignores words that it has no argument for, as cobra's do that say nothing."""
    adapted = copy.copy(command)
    adapted.context_settings = {**command.context_settings, "allow_extra_args": True}
    return adapted


class _Spelled(click.Command):
    """A command whose arguments are translated before click reads them."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Translate, then read."""
        return super().parse_args(context, translated(self.get_params(context), args))


class _SpelledGroup(_Spelled, click.Group):
    """A group of such commands. Alone it explains itself, which is no fault."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Read no word at all as `--help`."""
        return super().parse_args(context, args or (["--help"] if self.no_args_is_help else args))

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return a command of the group, which takes Go's spelling too."""
        found = super().get_command(context, name)
        return None if found is None else go_spelled(found)


def translated(params: Sequence[click.Parameter], arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command with these parameters in click's spelling.

    `--json=true` and `-q=1` are the flag, `--json=false` takes it away again, `-n=5` is `-n 5`. An empty text is what
    Go's programs have where nothing is given: `--mode "$MODE"` is left out then. What follows an option that takes a
    value, and all behind `--`, stays as it is.

    Raises:
        click.BadParameter: A flag has a value that is no boolean.
    """
    known = [each for each in params if isinstance(each, click.Option)]
    options = {name: option for option in known for name in option.opts + option.secondary_opts}
    words, out = deque(arguments), list[str]()
    while words:
        word = words.popleft()
        if word == "--":
            return [*out, word, *words]
        name, equals, value = word.partition("=")
        letters = [f"-{letter}" for letter in name[1:]] if equals and not name.startswith("--") else []
        if len(letters) > 1 and all(letter in options for letter in letters):  # -fq=true: the value is the last one's
            *before, name = letters
            out += before
        option = options.get(name)
        if option is None:
            out.append(word)
        elif not option.is_flag:
            given = [value] if equals else [words.popleft()] if words else []
            if given != [""] or not _may_be_empty(option):
                out += [name, *given]
        else:
            if isinstance(option, TakesBoolean) and not equals and words and words[0] in _TRUE + _FALSE:
                equals, value = "=", words.popleft()
            _set_flag(out, option, name, _boolean(option, name, value) if equals else True)
    return out


def _set_flag(out: list[str], option: click.Option, name: str, wanted: bool) -> None:
    """Put a flag, or what negates it, behind the words so far."""
    if wanted:
        out.append(name)
    elif option.secondary_opts:
        negated = option.opts if name in option.secondary_opts else option.secondary_opts
        out.append(negated[0])
    else:
        out[:] = [word for word in out if word not in option.opts]


def _may_be_empty(option: click.Option) -> bool:
    """Return whether an empty value of it is none: a number must be one, and of a list it is an entry."""
    return not option.multiple and not isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)


def _boolean(option: click.Option, name: str, value: str) -> bool:
    if value not in _TRUE + _FALSE:
        raise click.BadParameter(f"{value!r} must be a boolean; write {name}=true or {name}=false", param=option)
    return value in _TRUE
