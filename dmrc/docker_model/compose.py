"""What `docker compose up` asks of `docker-model` for a project with `models:`.

Compose calls `ls --json`, `status --json`, `pull MODEL` and `configure MODEL`, in the project's environment. It reads
stdout as data, so nothing else may be printed there, nor on stderr by the first two; and it shows nothing of what a
failing call says.

Source: https://github.com/docker/compose/blob/main/pkg/compose/model.go
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.models.list import Listing, list_models
from dmrc.cli.models.list import list_ as dmrc_list
from dmrc.cli.options import model_name
from dmrc.docker_model.compat_flags import replaced
from dmrc.docker_model.naming import as_typed
from dmrc.docker_model.parent_stderr import give_stderr_to_parent, write_to_parent
from dmrc.project import ModelDeclaration, ServingOptions
from dmrc.projects import WHOLE_PROJECT
from dmrc.reference import DEFAULT_REGISTRY, Reference

_READ_WITH_STDERR = ("ls", "list", "status")


def compose_project() -> str | None:
    """Return the project for which Compose started this program; None when a person did."""
    by_a_person = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND" in os.environ
    return None if by_a_person else os.environ.get("COMPOSE_PROJECT_NAME") or None


def keep_answer_alone(arguments: Sequence[str]) -> bool:
    """Keep warnings and notes out of what Compose reads, where it reads our stderr too; return whether it does."""
    is_read = compose_project() is not None and bool(arguments) and arguments[0] in _READ_WITH_STDERR
    if is_read:
        give_stderr_to_parent()
    return is_read


def show_to_user(text: str) -> None:
    """Write an error to stderr, and where the user sees it although Compose throws our stderr away."""
    say(text)
    if compose_project() is not None:
        write_to_parent(as_typed(text))


def say(text: str) -> None:
    """Write an error to stderr."""
    click.echo(as_typed(text), err=True)


def register(app: App, models: tuple[ModelDeclaration, ...] = ()) -> str:
    """Make the daemon know the project and these models of it; return its endpoint, a capability path.

    Compose can inject a URL and no key, so the URL is the key: a container of the project reaches its models by it.
    Those that are known by their addresses need neither, but the name of the gateway, which only their file can give.
    """
    from dmrc.cli.projects.setup.joining import join, project_by_address
    from dmrc.cli.projects.setup.reaching import attach
    from dmrc.docker_context import docker_endpoint

    host = docker_endpoint(os.environ).host
    app.daemon.ensure()
    by_address = project_by_address(compose_project() or "") if models else None
    gateway = attach(app, host, plain_port=by_address is not None, say=show_to_user)
    key = join(app, compose_project() or "", WHOLE_PROJECT, models, host)
    return f"{gateway.server}/k/{key}/engines/v1/"


def _list(app: App, as_json: bool, openai: bool, quiet: bool, url: str | None, pattern: str | None) -> None:
    """List the models, with `--json` under every name that a compose file may use for them.

    Compose looks for `model:` as it is written among these names, and pulls what it does not find.
    """
    import json

    from dmrc.models import describe

    if not as_json or openai or quiet or url or pattern:
        # An empty pattern is what a script's unset variable leaves, and is none.
        list_models(app, Listing(pattern or None, as_json, openai, quiet, url), may_be_none=True)
        return
    documents = [{**describe(model), "tags": _names(model.tags)} for model in app.store.models()]
    click.echo(json.dumps(documents, indent=4))


list_ = replaced(dmrc_list, _list)


@click.command(epilog="Example: docker model pull ai/smollm2:135M-Q4_K_M")
@click.argument("reference", type=model_name)
@pass_app
def pull(app: App, reference: str) -> None:
    """Pull a model. One that is present stays usable without a network."""
    from dmrc.cli.progress import PullProgress, note
    from dmrc.cli.tables import size

    with PullProgress() as progress:
        # Compose pulls on every `up` what it finds under another name, and that needs no news from the registry.
        refresh = compose_project() is None
        pulled = app.models.pull(reference, progress.of(reference), refresh=refresh, cancelled=progress.cancelled)
    if pulled.not_compared is not None:
        note(f"Warning: {pulled.not_compared}")
    done = "Using cached model: " + size(pulled.size_bytes) if pulled.was_present else "Model pulled successfully"
    click.echo(done)


@click.command()
@click.option("--json", is_flag=True, expose_value=False, help="Print JSON, as it does without.")
@pass_app
def status(app: App) -> None:
    """Start the daemon, and print its status with the endpoint of the project."""
    import json

    from dmrc.cli.record.status import status_document

    endpoint = register(app)
    click.echo(json.dumps({**status_document(app), "endpoint": endpoint}))


@click.command()
@click.option("--context-size", type=click.IntRange(min=1), metavar="TOKENS", help="Tokens that each request may use.")
@click.argument("reference")
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
@pass_app
def configure(app: App, context_size: int | None, reference: str, flags: tuple[str, ...]) -> None:
    """Take the configuration of one model of the project; it is loaded in the background.

    A runner that is busy with the former configuration finishes its requests.
    """
    from dmrc.cli.projects.setup.prepare import tell_cut_context
    from dmrc.engines.options_check import check_options

    options = ServingOptions(context_size=context_size, runtime_flags=flags or None)
    model = ModelDeclaration(key=reference, model=reference, options=options)
    check_options(app.engines[model.engine], options)
    _say_limits(register(app, (model,)), reference)
    tell_cut_context(app, model, lambda line: show_to_user(f"dmrc: {line}"))
    app.daemon.load(compose_project() or "", model.key, wait=False)


def _say_limits(endpoint: str, reference: str) -> None:
    from urllib.parse import urlsplit

    from dmrc.cli.projects.setup.read_project import document_here
    from dmrc.docker_context import docker_endpoint
    from dmrc.docker_model.limits import limits

    project, address = document_here(compose_project() or ""), urlsplit(endpoint).hostname or ""
    for line in limits(project, reference, docker_endpoint(os.environ).host, address):
        show_to_user(f"dmrc: {line}")


def _names(tags: tuple[str, ...]) -> list[str]:
    """Return every way to write these tags: `docker.io/ai/x:latest` is `ai/x:latest`, `ai/x` and `x` too."""
    names: dict[str, None] = {}
    for tag in tags:
        reference = Reference.parse(tag)
        hub = f"{DEFAULT_REGISTRY}/"
        forms = [tag, tag.removeprefix(hub), tag.removeprefix(hub).removeprefix("ai/"), reference.display()]
        names |= dict.fromkeys(forms)
        names |= dict.fromkeys(form.removesuffix(":latest") for form in forms)
    return list(names)
