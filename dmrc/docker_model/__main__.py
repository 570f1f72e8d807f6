"""The program of the plugin. Docker starts it as `docker-model model COMMAND`, Compose as `docker-model COMMAND`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from dmrc.cli.main import main
from dmrc.docker_model import commands
from dmrc.docker_model.compose import keep_answer_alone, say, show_to_user
from dmrc.docker_model.words import HelpFormatter

_OPTIONS_OF_DOCKER = {
    "--config": "DOCKER_CONFIG",
    "-c": "DOCKER_CONTEXT",
    "--context": "DOCKER_CONTEXT",
    "-H": "DOCKER_HOST",
    "--host": "DOCKER_HOST",
}
"""Options that may stand between `docker` and `model`, and the variable that says the same."""


def split(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the variables that docker's own options mean, and the command with its arguments."""
    rest, variables = list(arguments), {}
    while rest and rest[0].startswith("-"):
        name, separator, value = rest[0].partition("=")
        if name not in _OPTIONS_OF_DOCKER or not (separator or rest[1:]):
            break
        variables[_OPTIONS_OF_DOCKER[name]] = value if separator else rest[1]
        del rest[: 1 if separator else 2]
    if rest[:1] == ["model"]:
        del rest[0]
    return variables, rest


def explained(arguments: Sequence[str]) -> list[str]:
    """Return the command line, with `help COMMAND` and no word at all as what Go's programs take them for: `--help`."""
    words = list(arguments)
    if words[:1] == ["help"]:
        return [*words[1:], "--help"]
    return words or ["--help"]


if __name__ == "__main__":
    variables, arguments = split(sys.argv[1:])
    argv = explained(arguments)
    os.environ.update(variables)
    click.Context.formatter_class = HelpFormatter
    is_alone = keep_answer_alone(argv)
    main(argv, name="docker model", commands=commands, on_error=say if is_alone else show_to_user)
