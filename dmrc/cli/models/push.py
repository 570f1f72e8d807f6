"""`dmrc push`: a model out of the store into a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name

if TYPE_CHECKING:
    from dmrc.models.pushing import Pushed, PushForm


@click.command(epilog="Example: dmrc push registry.example.com/me/smollm2:Q4_1")
@click.argument("references", nargs=-1, required=True, type=model_name, metavar="MODEL...")
@click.option(
    "--as",
    "form",
    type=click.Choice(["model", "image"]),
    default="model",
    show_default=True,
    help="As a model, or as an image with its files, which Kubernetes mounts and dmrc pulls as a model.",
)
@json_option
@pass_app
def push(app: App, references: tuple[str, ...], form: PushForm, as_json: bool) -> None:
    """Push models to the registries that their names begin with. What a registry has is not sent again.

    Log in with Docker's own command: docker login registry.example.com
    """
    import json

    rows = []
    for reference in references:
        pushed = push_model(app, reference, form)
        rows.append(
            {
                "reference": pushed.reference,
                "digest": pushed.digest,
                "size_bytes": pushed.size_bytes,
                "seconds": round(pushed.seconds, 3),
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        for row in rows:
            click.echo(row["digest"])


def push_model(app: App, reference: str, form: PushForm = "model") -> Pushed:
    """Push one model with progress, and note that it is done."""
    from dmrc.cli.progress import PullProgress, note
    from dmrc.cli.tables import size

    with PullProgress() as progress:
        pushed = app.models.push(reference, progress.of(reference), cancelled=progress.cancelled, form=form)
    note(f"{pushed.reference} pushed, {size(pushed.size_bytes)} in {pushed.seconds:.1f} s")
    return pushed
