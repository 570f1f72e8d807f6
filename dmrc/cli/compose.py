"""`dmrc compose`: a model as a provider service, as Docker Compose calls it.

Source: https://github.com/docker/compose/blob/main/docs/extension.md
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app

if TYPE_CHECKING:
    from dmrc.project import ModelDeclaration
    from dmrc.sources import ProgressEvent

_PARAMETERS = (
    ("model", "Model reference; may be a list", True, "string"),
    ("context-size", "Tokens that each request may use", False, "integer"),
    ("runtime-flags", "Flags for the engine, in one string", False, "string"),
    ("keep-alive", "How long an idle model stays loaded: 5m, 0, -1", False, "string"),
    ("parallel", "Requests served at the same time", False, "integer"),
    ("backend", "Accepted for files written for Docker Model Runner; llama.cpp serves", False, "string"),
)
"""Name, description, whether it is required, and type. Compose passes on what is named here, and nothing else."""


@click.group("compose", epilog="Example: dmrc compose --project-name shop up --model ai/smollm2 llm")
@click.option("--project-name", metavar="NAME", default="", help="Name of the compose project.")
@click.pass_context
def compose(context: click.Context, project_name: str) -> None:
    """Serve a model as a provider service; Docker Compose calls this.

    Services that depend on the provider are given OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL, and the same with
    the provider's name before: LLM_URL, LLM_API_KEY, LLM_MODEL.
    """
    context.meta["dmrc.project"] = project_name


@compose.command()
def metadata() -> None:
    """Print the options of a provider service."""
    parameters = [
        {"name": name, "description": description, "required": required, "type": kind}
        for name, description, required, kind in _PARAMETERS
    ]
    service_only: dict[str, object] = {"parameters": []}
    document = {
        "description": "dmrc serves a language model",
        "up": {"parameters": parameters},
        "down": service_only,
        "stop": service_only,
    }
    click.echo(json.dumps(document))


@compose.command()
@click.option("--model", "models", multiple=True, metavar="REFERENCE")
@click.option("--context-size", metavar="TOKENS")
@click.option("--runtime-flags", default="")
@click.option("--keep-alive", metavar="DURATION")
@click.option("--parallel", metavar="N")
@click.option("--backend", hidden=True)
@click.argument("service")
@pass_app
def up(app: App, /, service: str, models: tuple[str, ...], **options: str | None) -> int:
    """Pull and load the models of a provider service, and print what its dependants are given."""
    from dmrc.errors import DmrcError

    project = _project()
    try:
        _up(app, project, [_declaration(service, model, options) for model in models], service)
    except DmrcError as error:
        # Compose shows the first line of this message, and nothing of stderr.
        _say("error", str(error))
        return error.exit_code
    return 0


@compose.command()
@click.argument("service")
@pass_app
def down(app: App, service: str) -> None:
    """End the key of a provider service, and unload what only it used."""
    _leave(app, _project(), service, keep_key=False)


@compose.command()
@click.argument("service")
@pass_app
def stop(app: App, service: str) -> None:
    """Unload what only this provider service uses; a request loads it again."""
    _leave(app, _project(), service, keep_key=True)


def _up(app: App, project: str, models: list[ModelDeclaration], service: str) -> None:
    import os

    from dmrc.cli.joining import join
    from dmrc.cli.preparation import attach
    from dmrc.compose.context import docker_endpoint
    from dmrc.engines.flags import configured
    from dmrc.errors import ProjectError

    if not models:
        raise ProjectError(f"provider service '{service}' names no model", remedy="Add options: {model: ai/smollm2}")
    host = docker_endpoint(os.environ).host
    for model in models:
        app.engines[model.engine].check(configured(model.engine, model.runtime_flags))
    with app.daemon.needed():
        address = attach(app, host)
        for model in models:
            _say("info", f"pulling {model.model}")
            app.models.pull(model.model, _Pulling(model.model))
        key = join(app, project, service, models, host)
        for model in models:
            _say("info", f"loading {model.model}")
            app.daemon.load(project, model.key)
    _give(app, address, key, [model.model for model in models])


def _give(app: App, address: str, key: str, models: list[str]) -> None:
    """Print the variables of the dependants."""
    url = f"http://{address}:{app.settings.port}/engines/v1"
    _say("info", f"{', '.join(models)} ready")
    for name, value in (("URL", f"{url}/"), ("MODEL", ",".join(models)), ("API_KEY", key)):
        _say("setenv", f"{name}={value}")
    for name, value in (("OPENAI_BASE_URL", url), ("OPENAI_MODEL", models[0]), ("OPENAI_API_KEY", key)):
        _say("rawsetenv", f"{name}={value}")


def _declaration(service: str, model: str, options: dict[str, str | None]) -> ModelDeclaration:
    """Return what a `models:` entry with these options would be; a key of the file's own never has a slash."""
    from dmrc.project import ModelDeclaration

    try:
        flags = shlex.split(options["runtime_flags"] or "")
    except ValueError as error:
        raise click.UsageError(f"--runtime-flags cannot be split: {error}") from error
    fields = {
        "model": model,
        "context_size": _number(options["context_size"]),
        "runtime_flags": flags,
        "x-dmrc": {"keep_alive": options["keep_alive"], "parallel": _number(options["parallel"])},
    }
    return ModelDeclaration.parse(f"{service}/{model}", fields, Path.cwd())


def _number(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


def _project() -> str:
    project = str(click.get_current_context().meta["dmrc.project"])
    if not project:
        raise click.UsageError("--project-name is missing; Docker Compose gives it")
    return project


def _leave(app: App, project: str, service: str, *, keep_key: bool) -> None:
    from dmrc.errors import DaemonError

    try:
        app.daemon.leave(project, service, keep_key=keep_key)
    except DaemonError:
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

        if event.layer is None or not event.size_bytes:
            return
        self._layers[event.layer] = (event.current_bytes, event.size_bytes)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.5
            current, size = (sum(column) for column in zip(*self._layers.values(), strict=True))
            _say("info", f"pulling {self._model}: {current / 1e6:.1f} of {size / 1e6:.1f} MB")
