"""`dmrc launch`: a coding assistant with a model of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name

_KEY = "not-required"
"""Programs want some key; on loopback the gateway wants none."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a program is started."""

    argv: tuple[str, ...]
    """The program and its first arguments."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables beside those of the user."""


def _aider(url: str, model: str) -> Launch:
    """Source: https://aider.chat/docs/llms/openai-compat.html."""
    variables = {"OPENAI_API_BASE": f"{url}/v1", "OPENAI_API_KEY": _KEY}
    return Launch(("aider", "--model", f"openai/{model}"), variables)


def _claude(url: str, model: str) -> Launch:
    """Source: https://code.claude.com/docs/en/env-vars."""
    sizes = {f"ANTHROPIC_DEFAULT_{size}_MODEL": model for size in ("HAIKU", "SONNET", "OPUS")}
    variables = {
        "ANTHROPIC_BASE_URL": f"{url}/anthropic",
        "ANTHROPIC_AUTH_TOKEN": _KEY,
        "ANTHROPIC_MODEL": model,
        **sizes,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    return Launch(("claude",), variables)


def _codex(url: str, model: str) -> Launch:
    """Source: https://developers.openai.com/codex/config-reference; a value is TOML, as JSON's strings are."""
    provider = {"name": "dmrc", "base_url": f"{url}/v1", "wire_api": "responses"}
    values = {"model_provider": "dmrc", **{f"model_providers.dmrc.{name}": value for name, value in provider.items()}}
    options = [word for name, value in values.items() for word in ("-c", f"{name}={json.dumps(value)}")]
    return Launch(("codex", *options, "--model", model))


def _opencode(url: str, model: str) -> Launch:
    """Source: https://opencode.ai/docs/config/#precedence-order and https://opencode.ai/docs/providers/."""
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "dmrc",
        "options": {"baseURL": f"{url}/v1", "apiKey": _KEY},
        "models": {model: {"name": model}},
    }
    config = {
        "$schema": "https://opencode.ai/config.json",
        "provider": {"dmrc": provider},
        "model": f"dmrc/{model}",
    }
    return Launch(("opencode",), {"OPENCODE_CONFIG_CONTENT": json.dumps(config)})


_APPS: dict[str, Callable[[str, str], Launch]] = {
    "aider": _aider,
    "claude": _claude,
    "codex": _codex,
    "opencode": _opencode,
}


@click.command(
    epilog="Example: dmrc launch opencode --model ai/qwen3-coder -- run 'Explain this repository'",
)
@click.option("--model", type=model_name, help="The model. [the only one in the store]")
@click.option("--print", "--dry-run", "--config", "is_printed", is_flag=True, help="Start nothing, and print how.")
@json_option
@click.argument("app_name", metavar="[APP]", required=False, type=click.Choice(list(_APPS)))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_app
def launch(
    app: App, model: str | None, is_printed: bool, as_json: bool, app_name: str | None, arguments: tuple[str, ...]
) -> None:
    """Start a coding assistant that asks a model here: aider, claude, codex, opencode. Without APP, list them.

    It is given variables and options for this run alone; none of its files is changed. A missing model is pulled first.
    """
    if app_name is None:
        _list(as_json=as_json)
        return
    wanted = model or _only_model(app)
    started = _APPS[app_name](f"http://127.0.0.1:{app.settings.port}", wanted)
    argv = (*started.argv, *arguments)
    if is_printed or as_json:
        _print(argv, started.environment, as_json=as_json)
    else:
        _start(app, wanted, argv, started.environment)


def _list(*, as_json: bool) -> None:
    import shutil

    from dmrc.cli.tables import print_table

    found = {name: shutil.which(name) for name in _APPS}
    if as_json:
        click.echo(json.dumps([{"app": name, "path": path} for name, path in found.items()], indent=2))
    else:
        print_table(("APP", "PATH"), [[name, path or "not installed"] for name, path in found.items()])


def _only_model(app: App) -> str:
    """Return the name of the one model in the store.

    Raises:
        InputError: There are more, or none.
    """
    from dmrc.errors import InputError
    from dmrc.reference import Reference

    models = [model for model in app.store.models() if model.tags]
    if len(models) != 1:
        raise InputError(f"there are {len(models)} models in the store", remedy="Say which one: --model ai/smollm2")
    return Reference.parse(models[0].tags[0]).display()


def _print(argv: tuple[str, ...], environment: dict[str, str], *, as_json: bool) -> None:
    import shlex

    if as_json:
        click.echo(json.dumps({"command": argv, "environment": environment}, indent=2))
        return
    for name, value in environment.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(shlex.join(argv))


def _start(app: App, model: str, argv: tuple[str, ...], environment: dict[str, str]) -> NoReturn:
    """Become the program.

    Raises:
        NotFoundError: It is not installed.
    """
    import os
    import shutil

    from dmrc.cli.progress import PullProgress
    from dmrc.errors import InputError, NotFoundError

    if shutil.which(argv[0]) is None:
        raise NotFoundError(f"there is no {argv[0]} on PATH", remedy="Install it, or look: dmrc launch APP --print")
    if app.settings.require_key:
        raise InputError(f"{argv[0]} has no key, and DMRC_REQUIRE_KEY is set", remedy="Unset it")
    with PullProgress() as progress:
        app.models.pull(model, progress.of(model), cancelled=progress.cancelled)
    app.daemon.ensure()
    app.daemon.preload(model, wait=False)
    os.execvpe(argv[0], argv, {**os.environ, **environment})  # noqa: S606 the user's own program, without a shell
