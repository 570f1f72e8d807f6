"""The built-in commands, as a plugin: this table is their list of contents."""

from __future__ import annotations

import click

from dmrc import hookimpl
from dmrc.cli.group import CommandGroup, LazyCommand

_PROJECTS, _MODELS, _SERVING, _WATCHING = "Projects", "Models", "Serving", "Watching"

COMMANDS = {
    "up": LazyCommand("dmrc.cli.projects.up:up", "Start a compose project with its models", _PROJECTS),
    "down": LazyCommand("dmrc.cli.projects.down:down", "Stop a compose project, end its keys and runners", _PROJECTS),
    "config": LazyCommand("dmrc.cli.projects.config:config", "Print what would be injected; start nothing", _PROJECTS),
    "env": LazyCommand("dmrc.cli.projects.env:env", "Print the variables of one service", _PROJECTS),
    "exec": LazyCommand("dmrc.cli.projects.exec:exec_", "Run a program on this machine as a service", _PROJECTS),
    "faults": LazyCommand("dmrc.cli.projects.faults.group:faults", "Let requests fail on purpose", _PROJECTS),
    "compose": LazyCommand(
        "dmrc.cli.projects.compose:compose", "Serve a model as a provider service, for Compose", _PROJECTS
    ),
    "export": LazyCommand(
        "dmrc.cli.projects.export.group:export", "Write a project as Kubernetes manifests", _PROJECTS
    ),
    "plugin": LazyCommand("dmrc.cli.projects.plugin:plugin", "Let plain docker compose up use dmrc", _PROJECTS),
    "pull": LazyCommand("dmrc.cli.models.pull:pull", "Pull a model from a registry", _MODELS),
    "push": LazyCommand("dmrc.cli.models.push:push", "Push a model to a registry", _MODELS),
    "package": LazyCommand("dmrc.cli.models.package:package", "Make a model of files, or of another model", _MODELS),
    "search": LazyCommand("dmrc.cli.models.search:search", "Find models on Docker Hub and Hugging Face", _MODELS),
    "list": LazyCommand("dmrc.cli.models.list:list_", "List the models in the store", _MODELS),
    "ls": LazyCommand("dmrc.cli.models.list:list_", "", _MODELS),
    "inspect": LazyCommand("dmrc.cli.models.inspect:inspect", "Print all facts of one model", _MODELS),
    "show": LazyCommand("dmrc.cli.models.show:show", "Show all facts of one model", _MODELS),
    "tag": LazyCommand("dmrc.cli.models.tag:tag", "Give a model one more name", _MODELS),
    "rm": LazyCommand("dmrc.cli.models.rm:rm", "Remove models", _MODELS),
    "df": LazyCommand("dmrc.cli.models.df:df", "Tell what takes how much of the disk", _MODELS),
    "verify": LazyCommand("dmrc.cli.models.verify:verify", "Hash the files in the store again", _MODELS),
    "prune": LazyCommand("dmrc.cli.models.prune:prune", "Remove files that no model refers to", _MODELS),
    "run": LazyCommand("dmrc.cli.serving.run:run", "Ask a model, and stream the answer", _SERVING),
    "ps": LazyCommand("dmrc.cli.serving.ps:ps", "List the models that run", _SERVING),
    "unload": LazyCommand("dmrc.cli.serving.unload:unload", "Unload models", _SERVING),
    "configure": LazyCommand(
        "dmrc.cli.serving.configure:configure", "Set how a model is served, and keep it", _SERVING
    ),
    "bench": LazyCommand("dmrc.cli.serving.bench:bench", "Measure how fast a model answers", _SERVING),
    "launch": LazyCommand("dmrc.cli.serving.launch:launch", "Start an application with a model", _SERVING),
    "serve": LazyCommand("dmrc.cli.serving.serve:serve", "Run the daemon in the foreground", _SERVING),
    "stop-runner": LazyCommand("dmrc.cli.serving.stop_runner:stop_runner", "Stop the daemon", _SERVING),
    "key": LazyCommand(
        "dmrc.cli.serving.key.group:key", "Create, list and revoke keys for what is not a service", _SERVING
    ),
    "engine": LazyCommand("dmrc.cli.serving.engine.group:engine", "See, add and choose builds of llama.cpp", _SERVING),
    "requests": LazyCommand(
        "dmrc.cli.record.requests.group:requests", "List what was asked, and how fast it was", _WATCHING
    ),
    "trace": LazyCommand("dmrc.cli.record.trace:trace", "Show the requests of one run of an app", _WATCHING),
    "top": LazyCommand("dmrc.cli.record.top.command:top", "Watch requests, models and memory live", _WATCHING),
    "advise": LazyCommand("dmrc.cli.record.advise:advise", "Tell which prompts are computed again, and why", _WATCHING),
    "diff": LazyCommand(
        "dmrc.cli.record.diff.command:diff", "Send recorded requests to something else, and compare", _WATCHING
    ),
    "cassette": LazyCommand(
        "dmrc.cli.record.cassette.group:cassette", "See, check and change recorded answers", _WATCHING
    ),
    "ui": LazyCommand("dmrc.cli.record.ui:ui", "Open the web page", _WATCHING),
    "plugins": LazyCommand("dmrc.cli.record.plugins:plugins", "List the plugins, and what each one costs", _WATCHING),
    "status": LazyCommand("dmrc.cli.record.status:status", "Tell whether the daemon runs, and where", _WATCHING),
    "doctor": LazyCommand("dmrc.cli.record.doctor:doctor", "Look for what may keep dmrc from working", _WATCHING),
    "logs": LazyCommand("dmrc.cli.record.logs:logs", "Print the daemon's log, or a model's", _WATCHING),
    "version": LazyCommand("dmrc.cli.record.version:version", "Print the versions of dmrc and its engine", _WATCHING),
}
"""Each command: where it is, one line, and its group; one without a line is another name of the one before it."""


@hookimpl
def dmrc_register_commands(cli: click.Group) -> None:
    """Add them all."""
    if isinstance(cli, CommandGroup):
        for name, command in COMMANDS.items():
            cli.add_lazy(name, command)
