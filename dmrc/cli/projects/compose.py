"""`dmrc compose`: a model as a provider service, as Docker Compose calls it.

Source: https://github.com/docker/compose/blob/main/docs/extension.md
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app

if TYPE_CHECKING:
    from dmrc.project import ModelDeclaration
    from dmrc.sources import ProgressEvent


@click.group("compose", epilog="Example: dmrc compose --project-name shop up --model ai/smollm2 llm")
@click.option("--project-name", metavar="NAME", default="", help="Name of the compose project.")
@click.pass_context
def compose(context: click.Context, project_name: str) -> None:
    """Serve a model as a provider service; Docker Compose calls this.

    Services that depend on the provider are given LLM_URL, with the key of the provider in its path, LLM_MODEL and
    LLM_API_KEY, by the provider's name; those of `type: dmrc` also OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL.
    """
    context.meta["dmrc.project"] = project_name


@compose.command(epilog="Example: dmrc compose metadata | jq .up.parameters")
def metadata() -> None:
    """Print the options of a provider service: Compose drops what is not among them, without a word."""
    from dmrc.project.provider import OPTIONS

    parameters = [
        {"name": name, "description": option.description, "required": option.required, "type": option.kind}
        for name, option in OPTIONS.items()
    ]
    service_only: dict[str, object] = {"parameters": []}
    document = {
        "description": "dmrc serves a language model",
        "up": {"parameters": parameters},
        "down": service_only,
        "stop": service_only,
    }
    click.echo(json.dumps(document))


# A value may begin with a dash and hold an `h`, "-ngl 99 --threads 4": it is no `-h`.
@compose.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},
    epilog="Example: dmrc compose --project-name web up --model ai/smollm2 llm",
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="--model REFERENCE [--OPTION VALUE]... SERVICE")
@pass_app
def up(app: App, options: tuple[str, ...]) -> int:
    """Pull and load the models of a provider service, and print what its dependants are given.

    The options are those of `provider: {options: …}`; see them by `dmrc compose metadata`.
    """
    from dmrc.cli.projects.setup.project_files import Allowed
    from dmrc.errors import DmrcError
    from dmrc.project.provider import declarations

    project = _project()
    service, given = _split(options)
    try:
        _check_as_written(project, service)
        allowed = Allowed((Path.cwd(),), app.settings.allowed_paths)
        models = [allowed.model(model) for model in declarations(service, given, Path.cwd())]
        _up(app, project, models, service)
    except DmrcError as error:
        # Compose shows the first line of this message, and nothing of stderr.
        _say("error", str(error))
        return error.exit_code
    return 0


@compose.command(epilog="Example: dmrc compose --project-name web down llm")
@click.argument("service")
@pass_app
def down(app: App, service: str) -> None:
    """End the key of a provider service, and unload what only it used."""
    _leave(app, _project(), service, keep_key=False)


@compose.command(epilog="Example: dmrc compose --project-name web stop llm")
@click.argument("service")
@pass_app
def stop(app: App, service: str) -> None:
    """Unload what only this provider service uses; a request loads it again."""
    _leave(app, _project(), service, keep_key=True)


def _split(words: tuple[str, ...]) -> tuple[str, dict[str, list[str]]]:
    """Return the service, and the options in the forms `--name value` and `--name=value`, each with all its values."""
    options: dict[str, list[str]] = {}
    services, rest = [], iter(words)
    for word in rest:
        if not word.startswith("--"):
            services.append(word)
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        options.setdefault(name, []).append(value if equals else next(rest, ""))
    if len(services) != 1:
        raise click.UsageError("name one provider service")
    return services[0], options


def _check_as_written(project: str, service: str) -> None:
    """Check the options as they stand in the compose file here, where it is the project's: Compose gives known ones.

    Raises:
        ProjectError: One is unknown.
    """
    from dmrc.cli.projects.setup.read_project import document_here
    from dmrc.project.provider import provided

    services = (document_here(project) or {}).get("services")
    if isinstance(services, dict) and service in services:
        provided({service: services[service]}, Path.cwd())


def _up(app: App, project: str, models: Sequence[ModelDeclaration], service: str) -> None:
    import os

    from dmrc.cli.projects.setup.formats import refusal, wanted_formats
    from dmrc.cli.projects.setup.joining import join
    from dmrc.cli.projects.setup.prepare import tell_cut_context
    from dmrc.cli.projects.setup.reaching import attach
    from dmrc.docker_context import docker_endpoint
    from dmrc.engines.options_check import check_options
    from dmrc.errors import FormatError

    host = docker_endpoint(os.environ).host
    for model in models:
        check_options(app.engines[model.engine], model.options, model.options.companions)
    with app.daemon.needed():
        gateway = attach(app, host)
        for name, formats in wanted_formats(models, app.engines).items():
            _say("info", f"pulling {name}")
            try:
                app.models.pull(name, _Pulling(name), formats=formats)
            except FormatError as error:
                raise refusal(error, name, models, app.engines) from error
        key = join(app, project, service, models, host)
        for model in models:
            tell_cut_context(app, model, lambda line: _say("info", line))
            _say("info", f"loading {model.model}")
            app.daemon.load(project, model.key)
    _give(gateway.server, key, [model.model for model in models])


def _give(host: str, key: str, models: list[str]) -> None:
    """Print the variables of the dependants.

    Files that were written for Docker Model Runner know of no key, so the URL is one. Those of `type: dmrc` ask for
    OpenAI's names too, which replace what a service says itself.
    """
    _say("info", f"{', '.join(models)} ready")
    for name, value in (("URL", f"{host}/k/{key}/engines/v1/"), ("MODEL", ",".join(models)), ("API_KEY", key)):
        _say("setenv", f"{name}={value}")
    if click.get_current_context().find_root().info_name != "dmrc":
        return
    openai = (("OPENAI_BASE_URL", f"{host}/engines/v1"), ("OPENAI_MODEL", models[0]), ("OPENAI_API_KEY", key))
    for name, value in openai:
        _say("rawsetenv", f"{name}={value}")


def _project() -> str:
    project = str(click.get_current_context().meta["dmrc.project"])
    if not project:
        raise click.UsageError("--project-name is missing; Docker Compose gives it")
    return project


def _leave(app: App, project: str, service: str, *, keep_key: bool) -> None:
    from dmrc.errors import DaemonNotRunningError

    try:
        app.daemon.leave(project, service, keep_key=keep_key)
    except DaemonNotRunningError:
        _say("debug", "the daemon does not run")


def _say(kind: str, message: str) -> None:
    """Print one message for Compose, at once: it shows them as they come."""
    click.echo(json.dumps({"type": kind, "message": message.splitlines()[0] if message else ""}))


class _Pulling:
    """Tells how a pull goes on, at most twice a second."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._layers: dict[str, tuple[int, int]] = {}
        self._next = 0.0

    def __call__(self, event: ProgressEvent, /) -> None:
        import time

        from dmrc.gguf import format_size

        if event.layer is None or not event.size_bytes:
            return
        self._layers[event.layer] = (event.current_bytes, event.size_bytes)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.5
            current, size = (sum(column) for column in zip(*self._layers.values(), strict=True))
            _say("info", f"pulling {self._model}: {format_size(current)} of {format_size(size)}")
