"""The commands of `docker model` that are not dmrc's own, and those that Compose calls by contract."""

from __future__ import annotations

import click

from dmrc import hookimpl
from dmrc.cli.group import CommandGroup, LazyCommand
from dmrc.docker_model.compose import compose_project
from dmrc.docker_model.pflag import go_spelled, takes_surplus_words

_MODELS, _SERVING, _WATCHING, _HERE = "Models", "Serving", "Watching", "As in Docker Model Runner"

COMMANDS = {
    "list": LazyCommand("dmrc.docker_model.compose:list_", "List the models in the store", _MODELS),
    "ls": LazyCommand("dmrc.docker_model.compose:list_", "", _MODELS),
    "pull": LazyCommand("dmrc.docker_model.compose:pull", "Pull a model from a registry", _MODELS),
    "rm": LazyCommand("dmrc.docker_model.compat_flags:rm", "Remove models", _MODELS),
    "inspect": LazyCommand("dmrc.cli.models.inspect:inspect", "Print all facts of one model", _MODELS),
    "show": LazyCommand("dmrc.docker_model.output:show", "Show all facts of one model", _MODELS),
    "package": LazyCommand("dmrc.docker_model.compat_flags:package", "Make a model of files", _MODELS),
    "push": LazyCommand("dmrc.docker_model.output:push", "Push a model to a registry", _MODELS),
    "purge": LazyCommand("dmrc.docker_model.runner:purge", "Remove all models", _MODELS),
    "run": LazyCommand("dmrc.docker_model.compat_flags:run", "Ask a model, and stream the answer", _SERVING),
    "configure": LazyCommand("dmrc.docker_model.compat_flags:configure", "Set how a model is served", _SERVING),
    "config": LazyCommand("dmrc.docker_model.compat_flags:configure", "", _SERVING),
    "ps": LazyCommand("dmrc.docker_model.output:ps", "List the models that run", _SERVING),
    "unload": LazyCommand("dmrc.docker_model.output:unload", "Unload models", _SERVING),
    "stop": LazyCommand("dmrc.docker_model.output:unload", "", _SERVING),
    "status": LazyCommand("dmrc.docker_model.output:status", "Tell whether the daemon runs", _WATCHING),
    "version": LazyCommand("dmrc.docker_model.output:version", "Print the versions of dmrc", _WATCHING),
    "logs": LazyCommand("dmrc.docker_model.compat_flags:logs", "Print the daemon's log, or a model's", _WATCHING),
    "requests": LazyCommand("dmrc.docker_model.requests:requests", "Print the last requests as JSON", _WATCHING),
    "install-runner": LazyCommand("dmrc.docker_model.runner:install_runner", "Start the daemon", _HERE),
    "start-runner": LazyCommand("dmrc.docker_model.runner:start_runner", "Start the daemon", _HERE),
    "restart-runner": LazyCommand("dmrc.docker_model.runner:restart_runner", "Restart the daemon", _HERE),
    "reinstall-runner": LazyCommand("dmrc.docker_model.runner:reinstall_runner", "Restart the daemon", _HERE),
    "stop-runner": LazyCommand("dmrc.docker_model.runner:stop_runner", "Stop the daemon", _HERE),
    "uninstall-runner": LazyCommand("dmrc.docker_model.runner:uninstall_runner", "Stop the daemon", _HERE),
    "context": LazyCommand("dmrc.docker_model.runner:context", "Show which server is asked", _HERE),
    "gateway": LazyCommand("dmrc.docker_model.runner:gateway", "", _HERE),
    "skills": LazyCommand("dmrc.docker_model.runner:skills", "", _HERE),
}
"""What is not as in `dmrc`."""

_FOR_COMPOSE = {
    "configure": LazyCommand("dmrc.docker_model.compose:configure", "", "Models"),
    "status": LazyCommand("dmrc.docker_model.compose:status", "", "Watching"),
}
"""What Compose calls for one project, and a person for none: a person gets dmrc's own."""
_WITHOUT_ARGUMENTS = (
    "ps",
    "df",
    "status",
    "version",
    "requests",
    "install-runner",
    "start-runner",
    "restart-runner",
    "stop-runner",
    "uninstall-runner",
)
"""Take words without a meaning, as in Docker Model Runner (`status --json true`). `purge MODEL` is refused: it would
remove every model."""


def _adapted(command: click.Command) -> click.Command:
    spelled = go_spelled(command)
    return takes_surplus_words(spelled) if command.name in _WITHOUT_ARGUMENTS else spelled


@hookimpl
def dmrc_register_commands(cli: click.Group) -> None:
    """Put them over dmrc's, and let all take flags as Go's programs do."""
    if isinstance(cli, CommandGroup):
        cli.adapt = _adapted
        for name, command in {**COMMANDS, **(_FOR_COMPOSE if compose_project() else {})}.items():
            cli.add_lazy(name, command)
