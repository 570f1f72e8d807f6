"""`dmrc export kubernetes`: manifests of a compose project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, project_options
from dmrc.cli.projects.export.choice_options import choice_options
from dmrc.cli.projects.setup.selection import Selection

if TYPE_CHECKING:
    from dmrc.kubernetes.choices import Choices


@click.command(epilog="Example: dmrc export kubernetes -o kubernetes && kubectl apply -k kubernetes/base")
@project_options
@click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("kubernetes"),
    show_default=True,
    help="Directory of the manifests.",
)
@choice_options
@json_option
@pass_app
def kubernetes(app: App, selection: Selection, directory: Path, choices: Choices, as_json: bool) -> None:
    """Write a compose project as Kubernetes manifests, as a directory for kubectl apply -k.

    Models must be in the store, or in a registry with --remote: their digests, and what they take of memory, are in
    the manifests. Keys are made at the first export, and stay. The files with keys are for you alone, and .gitignore
    names them.
    """
    import json

    from dmrc.cli.progress import note
    from dmrc.cli.projects.export.project import export_project
    from dmrc.kubernetes.export import exported
    from dmrc.kubernetes.folder import write

    export = export_project(app, selection.options(), directory, choices)
    folder = exported(export)
    write(directory, folder.files)
    for line in (*folder.left_out, *folder.notes):
        note(line)
    if as_json:
        files = {each.name: {"secret": each.is_secret} for each in folder.files}
        told = {"directory": str(directory), "files": files, "not_converted": list(folder.left_out)}
        click.echo(json.dumps({**told, "notes": list(folder.notes)}, indent=2))
    else:
        click.echo(f"{directory}/base")
