"""`dmrc launch`: a coding assistant, or an application in a container, with a model of ours."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import NoReturn

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name
from dmrc.cli.serving.launch_apps import (
    CONTAINER_APPS,
    HOST_APPS,
    AppCommand,
    ModelEndpoint,
    container_launch,
    container_name,
)
from dmrc.project import GATEWAY_HOST, KEY_PREFIX

_DIRECTORY = "dmrc-launch"
"""Where the keys of containers that are launched lie: what an application has stored must stay valid."""

_ASSISTANT_TOKENS = 32_768
"""The instructions and tools of coding assistants alone take some 10,000 to 30,000 tokens."""


@dataclass(frozen=True, slots=True)
class _Container:
    """What was said of the container."""

    image: str | None
    port: int | None
    detach: bool


@click.command(
    epilog="Example: dmrc launch opencode --model ai/qwen3-coder -- run 'Explain this repository'",
)
@click.option("--model", type=model_name, help="The model. [the only one in the store]")
@click.option("--port", type=click.IntRange(1, 65535), help="Of a container, on loopback. [3000, or 3001]")
@click.option("--image", metavar="IMAGE", help="Of a container, in place of its own.")
@click.option("-d", "--detach", is_flag=True, help="Leave a container running.")
@click.option("--print", "--dry-run", "--config", "is_printed", is_flag=True, help="Start nothing, and print how.")
@json_option
@click.argument("app_name", metavar="[APP]", required=False, type=click.Choice(sorted([*HOST_APPS, *CONTAINER_APPS])))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_app
def launch(
    app: App,
    /,
    model: str | None,
    is_printed: bool,
    as_json: bool,
    app_name: str | None,
    arguments: tuple[str, ...],
    **container: object,
) -> None:
    """Start an application that asks a model here. Without APP, list them.

    aider, claude, codex, openclaw and opencode are programs of this machine. They are given variables and options for
    this run alone; none of their files is changed. What would change the beginning of their prompts from one request to
    the next, so that all of it is computed again, is switched off where you have not set it yourself.

    openwebui and anythingllm run in a container, which reaches the models here with a key of its own; a volume keeps
    what they store. A missing model is pulled first.
    """
    if app_name is None:
        _list(as_json=as_json)
        return
    said = _Container(**container)  # type: ignore[arg-type]
    if app_name in HOST_APPS and said != _Container(None, None, detach=False):
        raise click.UsageError(f"--port, --image and --detach are for containers: {', '.join(CONTAINER_APPS)}")
    wanted = model or _only_model(app)
    prepared = _prepared(app, app_name, wanted, said, KEY_PREFIX + "…")
    if is_printed or as_json:
        _print(prepared, arguments, as_json=as_json)
        return
    _check(app, app_name, prepared)
    _pull(app, wanted)
    if app_name in CONTAINER_APPS:
        prepared = _prepared(app, app_name, wanted, said, _join(app, app_name, wanted))
        url = f"http://127.0.0.1:{said.port or CONTAINER_APPS[app_name].port}"
        click.echo(f"{app_name}: {url} as soon as it is up; docker stop {container_name(app_name)} ends it", err=True)
    else:
        app.daemon.ensure()
        _tell_of_small_context(app, app_name, wanted)
        app.daemon.preload(wanted, wait=False)
    _become(prepared, arguments)


def _prepared(app: App, name: str, model: str, said: _Container, key: str) -> AppCommand:
    """Return how an application is started; the key counts for a container only."""
    tokens = _context_tokens(app, model)
    if name in HOST_APPS:
        endpoint = ModelEndpoint(f"http://127.0.0.1:{app.settings.port}", model, context_tokens=tokens)
        return HOST_APPS[name](endpoint).completed(os.environ)
    endpoint = ModelEndpoint(f"http://{GATEWAY_HOST}:{app.settings.port}", model, key, tokens)
    return container_launch(name, endpoint, said.image, said.port, detach=said.detach)


def _context_tokens(app: App, model: str) -> int:
    """Return what a request may have, as the model was packaged; one that is not here yet has the default."""
    from dmrc.errors import ModelNotFoundError
    from dmrc.models.description import trained_context
    from dmrc.project import DEFAULT_CONTEXT_SIZE

    try:
        stored = app.store.resolve(model, app.settings.default_registry)
    except ModelNotFoundError:
        return DEFAULT_CONTEXT_SIZE
    wished = stored.config.context_size or DEFAULT_CONTEXT_SIZE
    return min(wished, trained_context(stored) or wished)


def _tell_of_small_context(app: App, name: str, model: str) -> None:
    """Say so where an assistant would be refused at its first word."""
    from urllib.parse import quote

    from dmrc.cli.progress import note
    from dmrc.json_values import items_of, object_of

    for entry in items_of(app.daemon.request("GET", f"/configurations?model={quote(model, safe='')}")):
        tokens = object_of(entry.get("Config")).get("context-size")
        if entry.get("Project") is not None or not isinstance(tokens, int) or tokens >= _ASSISTANT_TOKENS:
            continue
        note(
            f"{model} is served with {tokens} tokens, and what {name} says first may be more. "
            f"Give it more: dmrc configure {model} --context-size {_ASSISTANT_TOKENS}"
        )


def _list(*, as_json: bool) -> None:
    import shutil

    from dmrc.cli.tables import print_table

    found = {name: shutil.which(name) for name in HOST_APPS}
    images = {name: container.image for name, container in CONTAINER_APPS.items()}
    names = sorted([*found, *images])
    if as_json:
        document = [{"app": name, "path": found.get(name), "image": images.get(name)} for name in names]
        click.echo(json.dumps(document, indent=2))
        return
    where = {**{name: path or "not installed" for name, path in found.items()}, **images}
    print_table(("APP", "PROGRAM OR IMAGE"), [[name, where[name]] for name in names])


def _only_model(app: App) -> str:
    """Return the name of the one model in the store.

    Raises:
        InputError: There are more, or none.
    """
    from dmrc.errors import InputError

    names = _names(app)
    if len(names) != 1:
        raise InputError(f"there are {len(names)} models in the store", remedy="Say which one: --model ai/smollm2")
    return names[0]


def _names(app: App) -> list[str]:
    """Return the models of the store, each by its first name."""
    from dmrc.reference import Reference

    return [Reference.parse(model.tags[0]).display() for model in app.store.models() if model.tags]


def _print(prepared: AppCommand, arguments: tuple[str, ...], *, as_json: bool) -> None:
    import shlex

    command = (*prepared.argv, *arguments)
    if as_json:
        document = {"command": command, "environment": prepared.environment}
        click.echo(json.dumps({**document, "once": prepared.once} if prepared.once else document, indent=2))
        return
    for each in prepared.once:
        click.echo(shlex.join(each))
    for name, value in prepared.environment.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(shlex.join(command))


def _check(app: App, name: str, prepared: AppCommand) -> None:
    """Check what can be told before anything is pulled.

    Raises:
        NotFoundError: The program is not installed.
        InputError: It would have no key; or its container runs.
    """
    import shutil
    import subprocess

    from dmrc.errors import InputError, NotFoundError

    program = prepared.argv[0]
    if shutil.which(program) is None:
        raise NotFoundError(f"there is no {program} on PATH", remedy="Install it, or look: dmrc launch APP --print")
    if name in HOST_APPS:
        if app.settings.require_key:
            raise InputError(f"{program} has no key, and DMRC_REQUIRE_KEY is set", remedy="Unset it")
        return
    running = ("docker", "ps", "--quiet", "--filter", f"name=^/{container_name(name)}$")
    if subprocess.run(running, capture_output=True, check=False).stdout:
        raise InputError(f"{name} runs already", remedy=f"End it: docker stop {container_name(name)}")


def _pull(app: App, model: str) -> None:
    from dmrc.cli.progress import PullProgress

    with PullProgress() as progress:
        app.models.pull(model, progress.of(model), cancelled=progress.cancelled)


def _join(app: App, name: str, model: str) -> str:
    """Let the container in, for `model` and all others of the store by their short names; return its key.

    The key stays the same until it is revoked.
    """
    from dmrc.cli.projects.setup.service_keys import forget_key, stable_keys
    from dmrc.cli.serving.key.list import known_keys
    from dmrc.cli.serving.key.opening import open_key
    from dmrc.errors import DockerError

    with app.daemon.needed():
        if name not in [key["name"] for key in known_keys(app)]:
            forget_key(app, _DIRECTORY, name)  # it was revoked
        key = stable_keys(app, _DIRECTORY, [name])[name]
        if open_key(app, name, key, list(dict.fromkeys([model, *_names(app)]))) is None:
            raise DockerError("Docker cannot be reached", remedy="Start it, or look: docker info")
        app.daemon.preload(model, wait=False)
    return key


def _become(prepared: AppCommand, arguments: tuple[str, ...]) -> NoReturn:
    """Become the program; one that must be set up by its own commands is started all the same, and they are told."""
    import shlex

    if prepared.once:
        told = "\n".join(f"  {shlex.join(each)}" for each in prepared.once)
        click.echo(
            f"{prepared.argv[0]} knows models by a file of its own; where it is not set up yet:\n{told}", err=True
        )
    argv = (*prepared.argv, *arguments)
    os.execvpe(argv[0], argv, {**os.environ, **prepared.environment})  # noqa: S606 the user's own program, no shell
