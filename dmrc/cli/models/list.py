"""`dmrc list`: the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name, server_option

if TYPE_CHECKING:
    from dmrc.store import StoredModel

_HEADERS = ("MODEL NAME", "PARAMETERS", "QUANTIZATION", "ARCHITECTURE", "MODEL ID", "CREATED", "CONTEXT", "SIZE")


@dataclass(frozen=True, slots=True)
class Listing:
    """What of the store is to be shown, and how."""

    pattern: str | None
    """A name, an ID or a glob; None is all."""
    as_json: bool
    """As JSON of ours."""
    openai: bool
    """As JSON that `GET /v1/models` has."""
    quiet: bool
    """As IDs."""
    url: str | None
    """Of another server, whose models are shown instead."""


@click.command("list", epilog="Example: dmrc list 'ai/*' -q | xargs dmrc rm -f")
@json_option
@click.option("--openai", is_flag=True, help="Print JSON as GET /v1/models has it.")
@click.option("-q", "--quiet", is_flag=True, help="Print IDs only.")
@server_option
@click.argument("pattern", required=False, type=model_name, metavar="[MODEL|PATTERN]")
@pass_app
def list_(app: App, as_json: bool, openai: bool, quiet: bool, url: str | None, pattern: str | None) -> None:
    """List the models in the store; with MODEL those of that name or ID, with a PATTERN ('*smol*') all that match."""
    list_models(app, Listing(pattern, as_json, openai, quiet, url))


def list_models(app: App, listing: Listing, *, may_be_none: bool = False) -> None:
    """Print the models that are meant. A pattern may match nothing, a name only where there `may_be_none`.

    Raises:
        ModelNotFoundError: There is no model of that name or ID.
    """
    import json

    from dmrc.cli.tables import print_table
    from dmrc.errors import ModelNotFoundError
    from dmrc.models import describe, describe_for_openai

    if listing.quiet and (listing.openai or listing.url):
        raise click.UsageError("--quiet goes neither with --openai nor with --openaiurl")
    if listing.url is not None:
        _list_far(listing.url, listing.pattern, as_json=listing.as_json or listing.openai)
        return
    try:
        chosen = _chosen(app, listing.pattern)
    except ModelNotFoundError:
        if not may_be_none:
            raise
        chosen = []
    if listing.openai:
        data = [document for model, _ in chosen for document in describe_for_openai(model)]
        click.echo(json.dumps({"object": "list", "data": data}, indent=4))
    elif listing.as_json:
        click.echo(json.dumps([describe(model) for model, _ in chosen], indent=4))
    elif listing.quiet:
        for model, _ in chosen:
            click.echo(model.digest[7:19])
    else:
        rows = [row for model, tags in chosen for row in _rows(model, tags, app.settings.default_registry)]
        print_table(_HEADERS, [cells for _, cells in sorted(rows)])


def _list_far(url: str, pattern: str | None, *, as_json: bool) -> None:
    """List what another server has, of which nothing but its names is known."""
    import json
    from fnmatch import fnmatchcase

    from dmrc.cli.serving.chat.server import ChatServer
    from dmrc.cli.tables import print_table
    from dmrc.json_values import items_of, parse_object

    server = ChatServer.named(url)
    with server.answer("GET", "/models") as answer:
        found = parse_object(answer.read()).get("data")
    if not isinstance(found, list):
        raise server.no_answer()
    models = items_of(found)
    wanted = pattern if pattern is None or any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    models = [model for model in models if wanted is None or fnmatchcase(str(model.get("id")), wanted)]
    if as_json:
        click.echo(json.dumps({"object": "list", "data": models}, indent=4))
    else:
        print_table(_HEADERS[:1], [[str(model.get("id"))] for model in models])


def _chosen(app: App, pattern: str | None) -> list[tuple[StoredModel, tuple[str, ...]]]:
    """Return the models that are meant, each with the tags that are. A pattern may match nothing, a name may not."""
    from dmrc.errors import ModelNotFoundError
    from dmrc.reference import Reference, model_id

    models, known = app.store.models(), app.settings.default_registry
    if pattern is None:
        return [(model, model.tags) for model in models]
    if any(sign in pattern for sign in "*?["):
        return _with_tags(models, lambda tag: _matches(tag, pattern, known))
    try:
        model = app.store.resolve(pattern, known)
    except ModelNotFoundError:
        if model_id(pattern) is not None:
            raise
        wanted = Reference.parse(pattern, default_registry=known)
        # `dmrc list smollm2` means every tag of it where there is no `latest`, and else whatever has that in its name.
        found = _with_tags(models, lambda tag: _repository(tag) == (wanted.registry, wanted.repository))
        found = found or _with_tags(models, lambda tag: _matches(tag, f"*{pattern.lower()}*", known))
        if not found:
            raise
        return found
    named = tuple(tag for tag in model.tags if _matches(tag, pattern, known))
    return [(model, named or model.tags)]


def _with_tags(
    models: Iterable[StoredModel], is_meant: Callable[[str], bool]
) -> list[tuple[StoredModel, tuple[str, ...]]]:
    chosen = [(model, tuple(tag for tag in model.tags if is_meant(tag))) for model in models]
    return [(model, tags) for model, tags in chosen if tags]


def _matches(tag: str, pattern: str, default_registry: str) -> bool:
    """Return whether a tag, in one of the forms that people write, matches a glob."""
    from fnmatch import fnmatchcase

    from dmrc.reference import Reference

    short = Reference.parse(tag).display(default_registry=default_registry)
    forms = {tag, tag.removeprefix(f"{default_registry}/"), short, short.removesuffix(":latest")}
    return any(fnmatchcase(form, pattern) for form in forms)


def _repository(tag: str) -> tuple[str, str]:
    from dmrc.reference import Reference

    reference = Reference.parse(tag)
    return reference.registry, reference.repository


def _rows(
    model: StoredModel, tags: Sequence[str], default_registry: str
) -> Iterator[tuple[tuple[str, str, str], list[str]]]:
    """Yield what sorts a row, and its cells, for each tag."""
    from dmrc.cli.tables import ago
    from dmrc.gguf import format_size
    from dmrc.models.description import trained_context
    from dmrc.reference import Reference

    config = model.config
    facts = [
        config.parameters or "-",
        config.quantization or "-",
        config.architecture or "-",
        model.digest[7:19],
        ago(model.created.timestamp() if model.created else model.pulled_at),
        str(config.context_size or trained_context(model) or "-"),
        format_size(model.size_bytes),
    ]
    for tag in tags:
        reference = Reference.parse(tag)
        name = reference.display(default_registry=default_registry)
        yield (replace(reference, tag=None).display(default_registry=default_registry), name, tag), [name, *facts]
    if not tags:
        yield ("<none>", "", model.digest), ["<none>", *facts]
