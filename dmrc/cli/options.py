"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

P = ParamSpec("P")
R = TypeVar("R")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""`--json`, as the argument `as_json`."""


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
