"""dmrc's own commands, with the further flags that they have in Docker Model Runner.

A flag that cannot change anything here is taken, and its help says why; one whose wish cannot be fulfilled is refused
with what to do instead. Nothing that a script asks for is dropped without a word.
Source: https://docs.docker.com/reference/cli/docker/model/
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import click

from dmrc.cli.configure import configure as dmrc_configure
from dmrc.cli.logs import logs as dmrc_logs
from dmrc.cli.package import package as dmrc_package
from dmrc.cli.run import run as dmrc_run

_Command = TypeVar("_Command", bound=click.Command)

_FOR_VLLM = "It is vLLM's; here models are served by llama.cpp"
_DRAFT = "Declare the smaller model in the compose file: x-dmrc: {draft: MODEL}"


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
    """Return the same command with more options."""
    adapted = copy.copy(command)
    adapted.params = [*command.params, *options]
    return adapted


logs = with_options(dmrc_logs, unused("--no-engines", why="an engine's log is its own, see logs MODEL"))
run = with_options(
    dmrc_run,
    unused("--debug", why="see --verbose, and docker model logs"),
    unused("--color", why="answers are printed as the model gives them", takes_value=True),
    refused("--websearch", remedy="Put what the model should know into the prompt: @FILE", takes_value=False),
)
package = with_options(
    dmrc_package,
    refused("--safetensors-dir", remedy="llama.cpp reads GGUF: convert it by convert_hf_to_gguf.py, then use --gguf"),
    refused("--dduf", remedy="llama.cpp makes no images; use --gguf"),
)


def _configure() -> click.Group:
    """Return `configure` whose `show` prints JSON, as its readers expect."""
    adapted = copy.copy(dmrc_configure)
    set_, show = dmrc_configure.commands["set"], copy.copy(dmrc_configure.commands["show"])
    as_json = click.Option(["--json", "as_json"], is_flag=True, default=True, help="Print JSON, as it always does.")
    show.params = [as_json if option.name == "as_json" else option for option in show.params]
    adapted.commands = {
        **dmrc_configure.commands,
        "set": with_options(
            set_,
            refused("--speculative-draft-model", remedy=_DRAFT),
            refused("--speculative-num-tokens", remedy=_DRAFT),
            refused("--speculative-min-acceptance-rate", remedy=_DRAFT),
            refused("--hf_overrides", remedy=_FOR_VLLM),
            refused("--gpu-memory-utilization", remedy=_FOR_VLLM),
        ),
        "show": show,
    }
    return adapted


configure = _configure()
