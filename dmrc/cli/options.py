"""Options that several commands share."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from dmrc.cli.app import App
from dmrc.cli.projects.setup.selection import Selection

R = TypeVar("R")
_SELECTION = frozenset(field.name for field in dataclasses.fields(Selection))

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""`--json`, as the argument `as_json`."""

remote_option = click.option("-r", "--remote", is_flag=True, help="Ask the registry, and bring nothing here.")
"""`--remote`: a model is looked at where it would be pulled from."""

server_option = click.option(
    "--openaiurl", "url", metavar="URL", help="Ask another OpenAI-compatible server; its key is in OPENAI_API_KEY."
)
"""`--openaiurl`, as the argument `url`."""


def project_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add Compose's own options that say which project is meant; the command gets them as `selection`."""

    @functools.wraps(command)
    def with_selection(*args: object, **given: Any) -> R:
        fields = {name: given.pop(name) for name in tuple(given) if name in _SELECTION}
        return command(*args, selection=Selection(**fields), **given)

    directory = click.Path(path_type=Path, file_okay=False)
    options = (
        click.option("-f", "--file", "files", multiple=True, metavar="FILE", help="A compose file; may be repeated."),
        click.option("-p", "--project-name", metavar="NAME", help="Name of the project."),
        click.option("--profile", "profiles", multiple=True, metavar="NAME", help="A profile; may be repeated."),
        click.option(
            "--env-file",
            "env_files",
            multiple=True,
            type=click.Path(path_type=Path),
            help="A file of variables for the compose file; may be repeated.",
        ),
        click.option(
            "--project-directory", type=directory, help="Where relative paths begin; default: the first file's."
        ),
        click.option(
            "--allow-path",
            "allowed_paths",
            multiple=True,
            type=directory,
            help="A directory beside the project's whose files x-dmrc may name; may be repeated.",
        ),
    )
    wrapped: Callable[..., R] = with_selection
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


class TextArgument(click.ParamType[str]):
    """What a person says, as text: bytes that are not UTF-8 become U+FFFD, for JSON can hold none."""

    name = "text"

    def convert(self, value: str, _param: click.Parameter | None, _context: click.Context | None) -> str:
        """Replace what stands for such bytes."""
        return as_text(value.encode(errors="surrogateescape"))


words = TextArgument()
"""The type of an argument that is said to a model."""


def as_text(data: bytes) -> str:
    """Return bytes that a person gave as text; what is not UTF-8 becomes U+FFFD."""
    return data.decode(errors="replace")


class ModelArgument(click.ParamType[str]):
    """The name of a model in the store, which the shell can complete."""

    name = "model"

    def shell_complete(self, context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names in the store that begin so."""
        from dmrc.errors import DmrcError
        from dmrc.reference import Reference

        app = context.ensure_object(App)
        try:
            tags = app.store.names()
        except DmrcError:
            return []
        known = app.settings.default_registry
        # Whoever writes the organisation (ai/), or the registry, goes on with it.
        forms = (
            {Reference.parse(tag).display(default_registry=known) for tag in tags},
            {tag.removeprefix(f"{known}/").removesuffix(":latest") for tag in tags},
            set(tags),
        )
        found = (sorted(name for name in names if name.startswith(incomplete)) for names in forms)
        return [CompletionItem(name) for name in next(filter(None, found), [])]


model_name = ModelArgument()
"""The type of an argument that names a model in the store."""


class ExchangeIdArgument(click.ParamType[str]):
    """The id of a recorded request, which the shell can complete."""

    name = "id"

    def shell_complete(self, context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the short ids of the last requests that begin so, each with what was asked."""
        from dmrc.capture.database import ExchangeDatabase
        from dmrc.capture.queries import ExchangeFilter
        from dmrc.capture.summary import cells, short_id
        from dmrc.errors import DmrcError

        database = ExchangeDatabase(context.ensure_object(App).settings.paths.exchanges)
        try:
            last = database.page(ExchangeFilter(), _COMPLETED_REQUESTS)
            excerpts = database.excerpts(last)
        except DmrcError:
            return []
        return [
            CompletionItem(short_id(one.id), help=cells(one, excerpts.get(one.id, "")).words[:60])
            for one in last
            if short_id(one.id).startswith(incomplete)
        ]


_COMPLETED_REQUESTS = 50

exchange_id = ExchangeIdArgument()
"""The type of an argument that names a recorded request."""
