"""`dmrc configure`: how a model is served, remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name

if TYPE_CHECKING:
    from dmrc.fields import JsonObject
    from dmrc.project import ServingOptions


class _Group(click.Group):
    """A group whose command `set` need not be written: `dmrc configure MODEL …`, as in Docker Model Runner."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["set", *args]
        return super().parse_args(context, args)

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin so, and the models."""
        models = model_name.shell_complete(context, self.commands["set"].params[0], incomplete)
        return [*super().shell_complete(context, incomplete), *models]


@click.group(
    cls=_Group,
    subcommand_metavar="[set] MODEL [OPTIONS] [-- FLAGS...] | show [MODEL] | rm MODEL",
    epilog="Example: dmrc configure ai/smollm2 --context-size 4096 -- --temp 0.2",
)
def configure() -> None:
    """Set how a model is served, for all projects or for one; it is kept until `rm`.

    Each value is merged with the others by its own: a compose file is stronger than this command, and this command is
    stronger than what the model's package says. A model that is busy finishes what it does first.
    """


_project_option = click.option("--project", metavar="NAME", help="In this compose project only.")


@configure.command("set", epilog="Example: dmrc configure set ai/smollm2 --context-size 4096 -- --temp 0.2")
@click.argument("model", type=model_name)
@click.argument("flags", nargs=-1, metavar="[-- FLAGS...]")
@click.option("--context-size", type=click.IntRange(min=1), metavar="TOKENS", help="Tokens that each request may use.")
@click.option("--parallel", type=click.IntRange(min=1), metavar="N", help="Requests at the same time.")
@click.option("--keep-alive", metavar="TIME", help="How long it stays loaded when idle: 5m, 0, -1 for ever.")
@click.option("--engine", metavar="NAME", help="The engine that serves it.")
@click.option("--device", metavar="NAME", help="The graphics card that computes it, as doctor names it; auto, cpu.")
@click.option("--gpu", type=click.Choice(["auto", "required"]), help="Whether all of it must be on a graphics card.")
@click.option("--mode", type=click.Choice(["completion", "embedding", "reranking"]), help="What it is loaded for.")
@click.option(
    "--hf_overrides", "--hf-overrides", metavar="JSON", help="What replaces entries of its config.json: vLLM."
)
@click.option("--gpu-memory-utilization", type=float, metavar="SHARE", help="Share of the card's memory, to 1: vLLM.")
@click.option("--think/--no-think", default=None, help="Whether it may think before it answers.")
@_project_option
@pass_app
def set_(app: App, /, model: str, project: str | None, flags: tuple[str, ...], **options: object) -> None:
    """Set what is given, and leave the rest as it is. FLAGS are those of its engine, all of them at once."""
    chosen = options_of(flags, options)
    if not chosen.said():
        raise click.UsageError("nothing to set; see: dmrc configure --help")
    put(app, model, project, chosen)


def options_of(flags: tuple[str, ...], given: dict[str, object]) -> ServingOptions:
    """Return what the options of `set` say: `context_size`, `parallel`, `keep_alive`, `engine`, `mode` and `think`.

    Others are named as the fields of `ServingOptions`.

    Raises:
        ProjectError: `keep_alive` is no duration, or one of vLLM's options is not what it must be.
    """
    from dmrc.project import ServingOptions, overrides, parse_keep_alive, share

    if (text := given["hf_overrides"]) is not None:
        given["hf_overrides"] = overrides(_json(str(text), "--hf_overrides"), "--hf_overrides")
    if (value := given["gpu_memory_utilization"]) is not None:
        given["gpu_memory_utilization"] = share(value, "--gpu-memory-utilization")

    given["mode"] = "rerank" if given["mode"] == "reranking" else given["mode"]
    given["keep_alive_seconds"] = parse_keep_alive(given.pop("keep_alive"), "--keep-alive")
    think = given.pop("think")
    budget = None if think is None else -1 if think else 0
    return ServingOptions(runtime_flags=flags or None, reasoning_budget=budget, **given)  # type: ignore[arg-type]


def _json(text: str, where: str) -> object:
    import json

    from dmrc.errors import ProjectError

    try:
        return json.loads(text)
    except ValueError as error:
        raise ProjectError(f"{where} must be JSON: {error}", remedy='Write {"name": 1}, for example') from error


def put(app: App, model: str, project: str | None, options: ServingOptions, *, replace: bool = False) -> None:
    """Tell the daemon; `replace` is that of `Configurator.configure`."""
    import json

    with app.daemon.needed():
        document = {"model": model, "project": project, "options": options.to_json(), "replace": replace}
        app.daemon.request("PUT", "/configurations", json.dumps(document))


@configure.command(epilog="Example: dmrc configure show ai/smollm2 --json | jq '.[].Config'")
@click.argument("model", required=False, type=model_name)
@json_option
@pass_app
def show(app: App, model: str | None, as_json: bool) -> None:
    """Print how a model is served, and who says so. Without MODEL, all that are configured or declared are printed."""
    import json

    from dmrc.cli.tables import print_table

    found = entries(app, model)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    print_table(("MODEL", "PROJECT", "FIELD", "VALUE", "ORIGIN"), [row for entry in found for row in _rows(entry)])


def entries(app: App, model: str | None) -> list[JsonObject]:
    """Return how a model is served, or all that are configured or declared; see `Configurator.show`.

    Raises:
        ModelNotFoundError: It is not in the store.
    """
    from typing import cast
    from urllib.parse import quote

    with app.daemon.needed():
        path = "/configurations" if model is None else f"/configurations?model={quote(model, safe='')}"
        return cast("list[JsonObject]", app.daemon.request("GET", path))


@configure.command(epilog="Example: dmrc configure rm ai/smollm2")
@click.argument("model", type=model_name)
@_project_option
@pass_app
def rm(app: App, model: str, project: str | None) -> None:
    """Forget what was set for a model."""
    import json

    from dmrc.errors import NotFoundError

    with app.daemon.needed():
        body = json.dumps({"model": model, "project": project})
        answer = app.daemon.request("DELETE", "/configurations", body)
    if not (isinstance(answer, dict) and answer["known"]):
        raise NotFoundError(f"nothing was set for model '{model}'", remedy="See: dmrc configure show")


def _rows(entry: Mapping[str, object]) -> list[list[str]]:
    from dmrc.reference import Reference

    model = Reference.parse(str(entry["Model"])).display()
    values, origins = entry["Config"], entry["Origin"]
    if not isinstance(values, dict) or not isinstance(origins, dict):
        return []
    shown = {**values, **values.get("llamacpp", {}), "engine": entry["Backend"], "mode": entry["Mode"]}
    shown |= values.get("speculative", {}) | values.get("vllm", {})
    for name in ("llamacpp", "speculative", "vllm"):
        shown.pop(name, None)
    return [
        [
            model,
            str(entry["Project"] or "-"),
            name,
            _written(value),
            str(origins.get(name, "default")),
        ]
        for name, value in shown.items()
    ]


def _written(value: object) -> str:
    import json
    import shlex

    if isinstance(value, dict):
        return json.dumps(value)
    return shlex.join(value) if isinstance(value, list) else str(value)
