"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import click
from click.shell_completion import CompletionItem

from dmrc.cli.app import App

P = ParamSpec("P")
R = TypeVar("R")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""`--json`, as the argument `as_json`."""

remote_option = click.option("-r", "--remote", is_flag=True, help="Ask the registry, and bring nothing here.")
"""`--remote`: a model is looked at where it would be pulled from."""

server_option = click.option(
    "--openaiurl", "url", metavar="URL", help="Ask another OpenAI-compatible server; its key is in OPENAI_API_KEY."
)
"""`--openaiurl`, as the argument `url`."""


def project_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add Compose's own options that say which project is meant; `selection_of` reads them."""
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
    )
    for option in reversed(options):
        command = option(command)
    return command


class ModelName(click.ParamType[str]):
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
        names = {Reference.parse(tag).display(default_registry=known) for tag in tags}
        # Whoever writes the registry goes on with it.
        found = sorted(name for name in names if name.startswith(incomplete))
        return [CompletionItem(name) for name in found or sorted(tag for tag in tags if tag.startswith(incomplete))]


model_name = ModelName()
"""The type of an argument that names a model in the store."""
