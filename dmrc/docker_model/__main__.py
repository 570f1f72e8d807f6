"""The program of the plugin. Docker starts it as `docker-model model COMMAND`, Compose as `docker-model COMMAND`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from dmrc.cli.main import main
from dmrc.docker_model import commands
from dmrc.docker_model.completing import complete
from dmrc.docker_model.compose import keep_answer_alone, say, show_to_user
from dmrc.docker_model.naming import HelpFormatter

_OPTIONS_OF_DOCKER = {
    "--config": "DOCKER_CONFIG",
    "-c": "DOCKER_CONTEXT",
    "--context": "DOCKER_CONTEXT",
    "-H": "DOCKER_HOST",
    "--host": "DOCKER_HOST",
    "--tlscacert": "DOCKER_CERT_PATH",
    "--tlscert": "DOCKER_CERT_PATH",
    "--tlskey": "DOCKER_CERT_PATH",
    "-l": "",
    "--log-level": "",
}
"""Options with a value that may stand between `docker` and `model`, and the variable that says the same."""
_FLAGS_OF_DOCKER = {"-D": "", "--debug": "", "--tls": "", "--tlsverify": "DOCKER_TLS_VERIFY"}
"""Those without a value. What docker says of itself, or how loud, is nothing to us."""


def split(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the variables that docker's own options mean, and the command with its arguments.

    Docker hands over its whole command line: `docker -D model ls`, `docker help model ls`, `docker __complete model l`.
    """
    rest, variables = list(arguments), dict[str, str]()
    while rest and rest[0].startswith("-"):
        name, value = _parted(rest[0])
        if name in _FLAGS_OF_DOCKER:
            variable, value = _FLAGS_OF_DOCKER[name], value or "1"
        elif name in _OPTIONS_OF_DOCKER and (value is not None or rest[1:]):
            variable = _OPTIONS_OF_DOCKER[name]
            value = rest.pop(1) if value is None else value
        else:
            break
        del rest[0]
        if variable == "DOCKER_CERT_PATH":
            value = str(Path(value).parent)
        if variable and not (name in _FLAGS_OF_DOCKER and value.lower() in ("0", "f", "false")):
            variables[variable] = value
    before = rest[:1] if rest[:1] in (["help"], ["__complete"], ["__completeNoDesc"]) else []
    rest = rest[len(before) :]
    return variables, [*before, *(rest[1:] if rest[:1] == ["model"] else rest)]


def _parted(word: str) -> tuple[str, str | None]:
    """Return the name of an option, and the value that is written to it: `--host=X`, `-H=X` or `-HX`."""
    if not word.startswith("--") and len(word) > 2:
        return word[:2], word[2:].removeprefix("=")
    name, separator, value = word.partition("=")
    return name, value if separator else None


def explained(arguments: Sequence[str]) -> list[str]:
    """Return the command line, with `help COMMAND` and no word at all as what Go's programs take them for: `--help`."""
    words = list(arguments)
    if words[:1] == ["help"]:
        return [*words[1:], "--help"]
    return words or ["--help"]


if __name__ == "__main__":
    variables, arguments = split(sys.argv[1:])
    os.environ.update(variables)
    click.Context.formatter_class = HelpFormatter
    if arguments[:1] in (["__complete"], ["__completeNoDesc"]):
        complete(arguments[1:], described=arguments[0] == "__complete")
    else:
        is_alone = keep_answer_alone(arguments)
        on_error = say if is_alone else show_to_user
        main(explained(arguments), name="docker model", commands=commands, on_error=on_error)
